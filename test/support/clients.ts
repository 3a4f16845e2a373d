// SPDX-License-Identifier: Apache-2.0
// One exchange, on a connection of its own, with a server that says `pid <number>`.
import { get as httpGet } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import type { Readable } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';

export type Kind = 'net' | 'tls' | 'http' | 'https' | 'http2' | 'http2s';
export type Where = { port: number; host: string } | { path: string };

function collect(stream: Readable, resolve: (text: string) => void, reject: (error: Error) => void): void {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (data) => {
    text += data;
  });
  stream.on('error', reject);
  stream.on('close', () => resolve(text));
}

function exchange(
  kind: Kind,
  where: Where,
  resolve: (text: string) => void,
  reject: (error: Error) => void,
): void {
  const { port, host, path } = { port: 0, host: 'localhost', path: undefined, ...where };
  const to = path === undefined ? { port, host } : { path };
  switch (kind) {
    case 'net':
      return collect(connect(to), resolve, reject);
    case 'tls':
      return collect(tlsConnect({ ...to, rejectUnauthorized: false }), resolve, reject);
    case 'http':
      httpGet({ port, host, agent: false }, (reply) => collect(reply, resolve, reject)).on('error', reject);
      return;
    case 'https':
      httpsGet({ port, host, agent: false, rejectUnauthorized: false }, (reply) =>
        collect(reply, resolve, reject),
      ).on('error', reject);
      return;
    case 'http2':
    case 'http2s': {
      const at = host.includes(':') ? `[${host}]` : host;
      const session = http2Connect(`${kind === 'http2' ? 'http' : 'https'}://${at}:${port}`, {
        rejectUnauthorized: false,
      });
      session.on('error', reject);
      const finish = (text: string) => session.close(() => resolve(text));
      collect(session.request({ ':path': '/' }), finish, reject);
    }
  }
}

const PATIENCE_MS = 10_000;

/** The pid that a server of this kind answers with. Rejects on a connection error, on any other answer, and on none. */
export async function whoAnswers(kind: Kind, where: Where): Promise<number> {
  const text = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
    const settle =
      <T>(f: (value: T) => void) =>
      (value: T) => {
        clearTimeout(timer);
        f(value);
      };
    exchange(kind, where, settle(resolve), settle(reject));
  });
  const match = /^pid (\d+)\n$/.exec(text);
  if (!match) throw new Error(`answered ${JSON.stringify(text)}`);
  return Number(match[1]);
}
