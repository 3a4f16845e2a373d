// SPDX-License-Identifier: Apache-2.0
// An app that is refused something, and what it says about that.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { after, type TestContext } from 'node:test';
import { type App, type AppOptions, answeredBy, fixture, freePort, request, startApp, until } from './app';

const ANSWER = 'answered';
/** What names a system call that has failed, or why the seam is missing. */
const REASON = /\(errno \d+\)|the seam is off/;

const ERRNOS = ['EPERM', 'ENOSYS', 'EINVAL'];

/** With which errors the row of this number is tried: with one of them, with each where ERRNOS=all. */
export function errnosOf(row: number, errnos: readonly string[] = ERRNOS): readonly string[] {
  return process.env['ERRNOS'] === 'all' ? errnos : [errnos[row % errnos.length] as string];
}

export interface Reason {
  pid: number;
  text: string;
}

/** The lines that name something that has failed, and whose they are. */
export function reasonsOf({ stderr, pid }: App): Reason[] {
  const lines = stderr.split('\n').filter((line) => REASON.test(line));
  return lines.map((text) => ({ pid: Number(/^FASTSOCKET (\d+): /.exec(text)?.[1] ?? pid), text }));
}

/** The other end of the connections that test/fixtures/sandbox-app.js makes: it answers and closes. */
export class Target {
  private readonly server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(ANSWER);
  });

  constructor() {
    this.server.listen(0, '0.0.0.0');
    after(() => this.server.close());
  }

  async port(): Promise<number> {
    if (!this.server.listening) await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }
}

export interface SandboxOptions extends AppOptions {
  host?: string;
}

/** A running sandbox-app.js. */
export class Sandboxed {
  private constructor(
    readonly app: App,
    private readonly host: string,
  ) {}

  static async start(t: TestContext, target: Target, options: SandboxOptions): Promise<Sandboxed> {
    const { host = '127.0.0.1', env = {} } = options;
    const app = startApp(fixture('sandbox-app.js'), {
      ...options,
      port: await freePort(host),
      env: { HOST: host, TARGET: String(await target.port()), ...env },
    });
    t.after(() => app.stop());
    return new Sandboxed(app, host);
  }

  /** It is what it will be: all workers are ready, or it stays one process. Returns the workers. */
  async settled(): Promise<number[]> {
    const { app } = this;
    await until(
      () => {
        assert.equal(app.child.exitCode, null, `the app has ended:\n${app.stderr}`);
        return /^fastsocket: /m.test(app.stderr) || app.stderr.match(/worker \d is ready/g)?.length === 2;
      },
      () => `workers, or why there are none:\n${app.stderr}`,
      30_000,
    );
    return /^fastsocket: /m.test(app.stderr) ? [] : app.workers();
  }

  /** Waits until it listens. */
  async answers(): Promise<void> {
    await until(() => request(this.app.port, '/', this.host).then(Boolean, () => false), 'an answer');
  }

  /** All of these requests are answered, as they are to be. Returns by whom. */
  async serves(count = 24): Promise<Set<number>> {
    const texts = await Promise.all(
      Array.from({ length: count }, () => request(this.app.port, '/', this.host)),
    );
    for (const text of texts) assert.match(text, new RegExp(`^HTTP/1.1 200 [^]*${ANSWER}`));
    return new Set(texts.map((text) => answeredBy(text) as number));
  }

  /** One request after the other, until each of these has answered. */
  async servedOneByOne(pids: readonly number[]): Promise<void> {
    const left = new Set(pids);
    await until(async () => {
      for (const pid of await this.serves(1)) left.delete(pid);
      return left.size === 0;
    }, `answers of ${pids}`);
  }

  /** The same until each of these has answered. */
  async servedByEach(pids: readonly number[]): Promise<void> {
    const seen = new Set<number>();
    await until(async () => {
      for (const pid of await this.serves()) seen.add(pid);
      return pids.every((pid) => seen.has(pid));
    }, `answers of ${pids}`);
  }

  /** Each of these processes has said so. */
  async named(pids: readonly number[], pattern: RegExp): Promise<void> {
    await until(
      () => pids.every((one) => this.reasons.some(({ pid, text }) => pid === one && pattern.test(text))),
      () => `${pattern} of ${pids}:\n${this.app.stderr}`,
    );
  }

  get reasons(): Reason[] {
    return reasonsOf(this.app);
  }

  /** What stands on stderr without NODE_DEBUG. */
  get loud(): string[] {
    return this.app.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('FASTSOCKET '));
  }

  async ends(): Promise<void> {
    assert.deepEqual(await this.app.stop('SIGTERM'), { code: 0, signal: null }, this.app.stderr);
    assert.equal(this.app.stdout, '');
  }
}
