// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { Agent, request } from 'undici';
import WebSocket from 'ws';
import { fixture, freePort, hook, startApp, until } from './support/app';
import { temporaryFolder } from './support/temporary';

/** One conversation on a connection of its own: everything that came back, as bytes. */
type Talk = (port: number) => Promise<Buffer[]>;

const PATIENCE_MS = 5_000;
const BODY = Buffer.from(JSON.stringify({ text: 'ünïcödé '.repeat(500) }));

/** Status, headers but Date, and body. */
async function http(url: string, options: { method?: 'POST'; body?: Buffer } = {}): Promise<Buffer> {
  const agent = new Agent({ pipelining: 0, connect: { rejectUnauthorized: false } });
  try {
    const headers = options.body ? { 'content-type': 'application/json' } : {};
    const response = await request(url, { dispatcher: agent, headers, ...options });
    const { date: _, ...rest } = response.headers;
    return Buffer.concat([
      Buffer.from(`${response.statusCode} ${JSON.stringify(rest)}\n`),
      Buffer.from(await response.body.arrayBuffer()),
    ]);
  } finally {
    await agent.close();
  }
}

const web: Talk = async (port) => [
  await http(`http://127.0.0.1:${port}/`),
  await http(`http://127.0.0.1:${port}/echo`, { method: 'POST', body: BODY }),
  await http(`http://127.0.0.1:${port}/missing`),
];

const secure: Talk = async (port) => [
  await http(`https://localhost:${port}/`, { method: 'POST', body: BODY }),
];

const socketTalk: Talk = (port) =>
  new Promise((resolve, reject) => {
    const got: Buffer[] = [];
    const client = new WebSocket(`ws://127.0.0.1:${port}`);
    client.on('error', reject);
    client.on('open', () => {
      client.send('text');
      client.send(BODY);
    });
    client.on('message', (data, isBinary) => {
      got.push(Buffer.concat([Buffer.from(isBinary ? 'binary ' : 'text '), data as Buffer]));
      if (got.length === 2) client.close();
    });
    client.on('close', () => resolve(got));
  });

const http2Talk: Talk = (port) =>
  new Promise((resolve, reject) => {
    const session = connectHttp2(`https://localhost:${port}`, { rejectUnauthorized: false });
    session.on('error', reject);
    const stream = session.request({ ':path': '/echo', ':method': 'POST' });
    const got: Buffer[] = [];
    stream.on('error', reject);
    stream.on('response', (headers) => got.push(Buffer.from(`${headers[':status']} ${headers['x-path']}`)));
    stream.on('data', (data: Buffer) => got.push(data));
    stream.on('end', () => {
      session.close();
      resolve([Buffer.concat(got)]);
    });
    stream.end(BODY);
  });

const echo: Talk = (port) =>
  new Promise((resolve, reject) => {
    const got: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.end(BODY));
    socket.on('error', reject);
    socket.on('data', (data) => got.push(data));
    socket.on('close', () => resolve([Buffer.concat(got)]));
  });

/** Says nothing before it has been greeted. */
const greeted: Talk = (port) =>
  new Promise((resolve, reject) => {
    const got: Buffer[] = [];
    const words = ['HELO test\r\n', 'QUIT\r\n'];
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('nothing was said')));
    socket.on('error', reject);
    socket.on('data', (data) => {
      got.push(data);
      const word = words.shift();
      if (word) socket.write(word);
    });
    socket.on('close', () => resolve([Buffer.concat(got)]));
  });

const statements: Talk = async (port) => {
  const options = { host: '127.0.0.1', port, user: 'test', connectTimeout: PATIENCE_MS };
  const connection = await createConnection(options);
  // it says ECONNRESET, too, where the server goes first
  connection.on('error', () => {});
  try {
    return [Buffer.from(JSON.stringify(await connection.query('update'))), Buffer.from('and gone')];
  } finally {
    await connection.end();
  }
};

/** Runs a program with or without the hook; what the first conversation said, and who accepted the connections of all. */
async function run(t: TestContext, script: string, talk: Talk, hooked: boolean, env: Record<string, string>) {
  const folder = temporaryFolder('who');
  const who = join(folder, 'who');
  writeFileSync(who, '');
  const flags = [...(hooked ? ['-r', hook] : []), '-r', fixture('who.cjs')];
  const app = startApp(fixture(join('frameworks', script)), {
    port: await freePort(),
    hook: flags,
    env: { WHO: who, ...env },
  });
  t.after(() => app.stop());
  const accepted = () =>
    readFileSync(who, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
  if (hooked) {
    await app.said(/worker 1 is ready/);
    await app.said(/worker 2 is ready/);
  }
  const said = await until(
    () => talk(app.port).catch(() => undefined),
    `an answer of ${script}\n${app.stderr}`,
  );
  if (hooked) {
    await until(async () => {
      assert.deepEqual(await talk(app.port), said);
      const workers = new Set(app.workers().map(String));
      return (
        new Set(
          accepted()
            .map(([pid]) => pid)
            .filter((pid) => workers.has(pid ?? '')),
        ).size === 2
      );
    }, `both workers to serve ${script}`);
    const cores = new Set(
      accepted()
        .map(([, core]) => core)
        .filter((core) => /^\d+$/.test(core ?? '')),
    );
    if (availableParallelism() >= 2) assert.equal(cores.size, 2, `${[...cores]}`);
  }
  const ended = await app.stop('SIGTERM');
  return { said, ended, stdout: app.stdout };
}

const PROGRAMS: [name: string, script: string, talk: Talk][] = [
  ['Express', 'express.js', web],
  ['Fastify, CommonJS', 'fastify.cjs', web],
  ['Fastify, ESM', 'fastify.mjs', web],
  ['a ws WebSocket server', 'ws.js', socketTalk],
  ['an HTTPS server', 'https.js', secure],
  ['an HTTP/2 server', 'http2.js', http2Talk],
  ['http-proxy before a backend', 'proxy.js', web],
  ['a TCP echo server', 'echo.js', echo],
  ['Koa', 'koa.js', web],
  ['a server that speaks first', 'greets.js', greeted],
  ['a MySQL server of mysql2', 'mysql2.js', statements],
];

for (const [name, script, talk] of PROGRAMS) {
  test(`${name}: all cores serve, and every byte is what it is without the flag`, async (t) => {
    const backend = createServer((incoming, response) => {
      response.setHeader('X-Url', incoming.url ?? '');
      incoming.pipe(response);
    });
    t.after(() => backend.close());
    await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
    const env = { BACKEND: String((backend.address() as { port: number }).port) };
    const plain = await run(t, script, talk, false, env);
    const hooked = await run(t, script, talk, true, env);
    assert.ok(plain.said.length > 0 && plain.said.every((bytes) => bytes.length > 0));
    assert.deepEqual(hooked, plain);
  });
}
