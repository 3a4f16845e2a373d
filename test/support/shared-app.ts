// SPDX-License-Identifier: Apache-2.0
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { type ClientRequest, request } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type App, fixture, freePort, multiplied, startApp, until } from './app';
import { noneLeft } from './ending';
import { Ledger } from './ledger';
import { temporaryFolder } from './temporary';

const HOST = '127.0.0.1';

/** An app with a server on a path, a UDP socket, or both, beside its TCP port. */
export interface SharedApp {
  app: App;
  path: string;
  udp: number;
  ledger: Ledger;
  workers: number[];
}

export interface SharedOptions {
  path?: 'file' | 'abstract' | 'relative';
  udp?: boolean;
  env?: Record<string, string>;
  /** false: it has no TCP port, and nothing is waited for. */
  tcp?: boolean;
  /** false: plain Node. */
  hook?: boolean;
}

let names = 0;

export async function startShared(
  t: TestContext,
  { path: kind, udp: withUdp, env = {}, tcp = true, hook = true }: SharedOptions,
): Promise<SharedApp> {
  const ledger = new Ledger();
  const folder = temporaryFolder('shared');
  const path = kind === 'abstract' ? `@fastsocket-${process.pid}-${++names}` : join(folder, 'socket');
  const udp = await freeUdpPort();
  const app = startApp(fixture('shared-app.js'), {
    port: tcp ? await freePort(HOST) : 0,
    hook,
    cwd: folder,
    env: {
      LEDGER: ledger.path,
      ...(kind ? { PATH_NAME: kind === 'relative' ? 'socket' : path } : {}),
      ...(withUdp ? { UDP: String(udp) } : {}),
      ...env,
    },
  });
  t.after(async () => {
    const workers = app.workers();
    for (const pid of [app.pid, ...workers]) resume(pid);
    await app.stop();
    await noneLeft(workers, 5_000);
  });
  const workers = tcp && hook ? await multiplied(app, 2, HOST) : [];
  return { app, path: path.replace(/^@/, '\0'), udp, ledger, workers };
}

/** A UDP port that was free a moment ago, below those that the kernel chooses (ip(7), ip_local_port_range). */
export async function freeUdpPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (await canBind(port)) return port;
  }
}

/** Whether a stranger may bind the UDP port now. */
export function canBind(port: number, reuseAddr = false): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4', reuseAddr });
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port, address: HOST, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}

/** A request on a path that has not ended; `answer`: who has answered it in the end, its pid. Rejects as connect() does. */
export function beginRequest(
  path: string,
  method: 'GET' | 'POST' = 'POST',
): { asked: ClientRequest; answer: Promise<number> } {
  const asked = request({ socketPath: path, method, agent: false, timeout: 5_000 });
  const answer = new Promise<number>((resolve, reject) => {
    asked.once('response', (response) => {
      response.resume();
      response.once('end', () => resolve(Number(response.headers['x-pid'])));
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer')));
    asked.once('error', reject);
  });
  return { asked, answer };
}

export function askPath(path: string): Promise<number> {
  const { asked, answer } = beginRequest(path, 'GET');
  asked.end();
  return answer;
}

/** Who answers on a UDP port, undefined where nobody does within `ms`. */
export function askUdp(port: number, ms = 5_000, host = HOST): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const end = (pid?: number) => {
      clearTimeout(timer);
      socket.close();
      resolve(pid);
    };
    const timer = setTimeout(end, ms);
    socket.once('message', (text) => end(Number(text)));
    socket.once('error', (error) => {
      clearTimeout(timer);
      socket.close();
      reject(error);
    });
    socket.send('who', port, host);
  });
}

/** Sends `text` to a multicast group, on the loopback interface. */
export function tellGroup(group: string, port: number, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.bind(0, () => {
      socket.setMulticastInterface(HOST);
      socket.send(text, port, group, (error) => socket.close(() => (error ? reject(error) : resolve())));
    });
  });
}

function resume(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // it has ended
  }
}

const isStopped = (pid: number) => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

/** Runs `f` while of all these processes only `pid` runs: whoever answers then is that one. */
export async function whileAlone<T>(pid: number, all: number[], f: () => Promise<T>): Promise<T> {
  const others = all.filter((other) => other !== pid);
  try {
    for (const other of others) process.kill(other, 'SIGSTOP');
    await until(() => others.every(isStopped), 'the others have stopped');
    return await f();
  } finally {
    for (const other of others) resume(other);
  }
}
