// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

function findRoot(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : findRoot(dirname(folder));
}

export const root = findRoot(__dirname);
export const hook = join(root, 'dist', 'register.cjs');
export const hookModule = join(root, 'dist', 'register.mjs');
export const fixture = (name: string): string => join(root, 'test', 'fixtures', name);

const given = new Set<number>();

/**
 * A port that was free a moment ago, and never the same twice. Below 32768, where the kernel takes the ports of outgoing
 * connections from (ip(7), ip_local_port_range): one of those could have it by the time the app listens.
 */
export async function freePort(host = '0.0.0.0'): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (given.has(port)) continue;
    const server = createServer();
    const free = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EADDRINUSE') resolve(false);
        else reject(error);
      });
      server.listen({ port, host, exclusive: true }, () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    given.add(port);
    return port;
  }
}

/** Waits until `check` gives something truthy; throws with `what` after `ms`. */
export async function until<T>(
  check: () => T | Promise<T>,
  what: string | (() => string),
  ms = 15_000,
): Promise<Exclude<NonNullable<T>, false>> {
  const end = Date.now() + ms;
  for (;;) {
    const result = await check();
    if (result) return result as Exclude<NonNullable<T>, false>;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`);
    await sleep(10);
  }
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface AppOptions {
  /** false: plain Node; a list of flags instead of `-r <hook>`, such as --import. */
  hook?: boolean | string[];
  port?: number;
  env?: Record<string, string>;
  execArgv?: string[];
  args?: string[];
  /** Words before node: ip netns exec NS, setpriv ..., taskset ... */
  prefix?: string[];
  detached?: boolean;
  /** Descriptors of ours that it inherits, as 3 and so on. */
  fds?: number[];
  cwd?: string;
  node?: string;
  /** 'pipe': it has a standard input that the test writes to. */
  stdin?: 'ignore' | 'pipe';
}

/** A fixture (or any script) running as a user would start it, in its own process. */
export class App {
  private out = '';
  private err = '';
  readonly ended: Promise<Ended>;

  constructor(
    readonly child: ChildProcess,
    readonly port: number,
  ) {
    child.stdout?.on('data', (data) => {
      this.out += data;
    });
    child.stderr?.on('data', (data) => {
      this.err += data;
    });
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve({ code, signal }));
    });
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get stdout(): string {
    return this.out;
  }

  get stderr(): string {
    return this.err;
  }

  /** Direct children that live: the workers. */
  workers(): number[] {
    return childrenOf(this.pid);
  }

  /** Waits until `pattern` stands in stderr (NODE_DEBUG=fastsocket lines, or the app's own). */
  said(pattern: RegExp, ms?: number): Promise<RegExpExecArray> {
    return until(
      () => pattern.exec(this.err),
      () => `${pattern} in stderr:\n${this.err}`,
      ms,
    );
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<Ended> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.ended;
  }
}

/** Starts a script with PORT in its environment, two workers and the debug log unless said otherwise. */
export function startApp(script: string, options: AppOptions & { port: number }): App {
  const {
    port,
    env = {},
    execArgv = [],
    args = [],
    prefix = [],
    detached = false,
    fds = [],
    cwd,
    node = process.execPath,
    stdin = 'ignore',
  } = options;
  const flags = options.hook === false ? [] : Array.isArray(options.hook) ? options.hook : ['-r', hook];
  const [command, ...words] = [...prefix, node, ...flags, ...execArgv, script, ...args];
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(FASTSOCKET|NODE_TEST|NODE_V8)/.test(name)),
  );
  const child = spawn(command as string, words, {
    env: {
      ...clean,
      PORT: String(port),
      FASTSOCKET_WORKERS: '2',
      NODE_DEBUG: 'fastsocket',
      ...env,
    } as NodeJS.ProcessEnv,
    stdio: [stdin, 'pipe', 'pipe', ...fds],
    detached,
    ...(cwd === undefined ? {} : { cwd }),
  });
  return new App(child, port);
}

/** Children of a process that live (a zombie has ended). */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.trim().split(' ').filter(Boolean).map(Number).filter(lives);
  } catch {
    return [];
  }
}

export function lives(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** One request on a connection of its own; resolves to the raw response text, rejects on a connection error. */
export function request(port: number, path = '/', host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, host, () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`),
    );
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

/** Pid that answered (X-Pid header), undefined where there was no answer. */
export function answeredBy(response: string): number | undefined {
  const match = /^x-pid: (\d+)/im.exec(response);
  return match ? Number(match[1]) : undefined;
}

/** Who answers `count` requests, by pid. */
export async function census(port: number, count: number, host?: string): Promise<Map<number, number>> {
  const seen = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const pid = answeredBy(await request(port, '/', host));
    if (pid !== undefined) seen.set(pid, (seen.get(pid) ?? 0) + 1);
  }
  return seen;
}

/** Waits until the port answers. */
export async function answering(port: number, host?: string): Promise<void> {
  await until(
    () =>
      request(port, '/', host).then(
        (text) => text.length > 0,
        () => false,
      ),
    `an answer on port ${port}`,
  );
}

/** Waits until `workers` workers serve and the origin stands by; returns their pids. */
export async function multiplied(app: App, workers = 2, host?: string): Promise<number[]> {
  await until(
    () => {
      if (app.child.exitCode !== null || app.child.signalCode !== null)
        throw new Error(`the app has ended:\n${app.stderr}`);
      const ready = new Set([...app.stderr.matchAll(/worker (\d+) is ready/g)].map(([, index]) => index));
      return ready.size >= workers;
    },
    () => `${workers} workers ready:\n${app.stderr}`,
    30_000,
  );
  await answering(app.port, host);
  return app.workers();
}
