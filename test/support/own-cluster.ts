// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { addonPath } from './addon';
import { type App, type AppOptions, fixture, freePort, request, root, startApp, until } from './app';
import { temporaryFolder } from './temporary';

export interface ClusterEvent {
  event: string;
  id?: number;
  port?: number;
  address?: string;
  addressType?: number;
  code?: number | null;
  signal?: string | null;
  exitedAfterDisconnect?: boolean;
  message?: unknown;
  pid?: number;
}

export interface Reply {
  id: number;
  pid: number;
  /** What the API says there. */
  told?: { active: boolean; reason?: string; core?: number };
  /** Of its command line. */
  args: string[];
  /** Connections that listeners of the process have accepted themselves. */
  accepted: number;
  address?: { port: number; address: string };
}

export interface ClusterOptions extends AppOptions {
  kind?: string;
  /** Workers that it forks at once; 2. */
  workers?: number;
  /** Workers that serve from sockets of their own, before the test begins; all. */
  served?: number;
  /** 'listening' events before that; one for each worker. */
  listening?: number;
}

/** fixtures/own-cluster.js: an app that forks cluster workers itself. */
export class OwnCluster {
  constructor(readonly app: App) {}

  get events(): ClusterEvent[] {
    return this.app.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as ClusterEvent);
  }

  of(event: string): ClusterEvent[] {
    return this.events.filter((one) => one.event === event);
  }

  /** Waits until there have been `count` events of this name, and gives them. */
  seen(event: string, count = 1): Promise<ClusterEvent[]> {
    return until(
      () => {
        const found = this.of(event);
        return found.length >= count && found;
      },
      () => `${count} x ${event}:\n${this.app.stdout}\n${this.app.stderr}`,
    );
  }

  command(line: string): void {
    this.app.child.stdin?.write(`${line}\n`);
  }

  /** The port that the workers have got. */
  get port(): number {
    return this.of('listening')[0]?.port ?? this.app.port;
  }

  ask(path = '/', port = this.port): Promise<Reply> {
    return request(port, path).then((text) => JSON.parse(text.slice(text.indexOf('{'))) as Reply);
  }

  /** `count` answers, eight at a time. */
  async answers(count: number, port = this.port): Promise<Reply[]> {
    const replies: Reply[] = [];
    while (replies.length < count)
      replies.push(...(await Promise.all(Array.from({ length: 8 }, () => this.ask('/', port)))));
    return replies;
  }

  /**
   * `count` answers, and more until each of these workers has given one: on a busy machine one of them may be steered around
   * for a while. Nobody else gives any.
   */
  async answersOf(ids: readonly number[], count: number, port = this.port): Promise<Reply[]> {
    const replies = await this.answers(count, port);
    const all = () => ids.every((id) => replies.some((reply) => reply.id === id));
    await until(
      async () => all() || !replies.push(...(await this.answers(8, port))),
      () => `answers of ${ids}, not of ${numbers(replies)} alone:\n${this.app.stderr}`,
    );
    assert.deepEqual(numbers(replies), ids);
    return replies;
  }

  /** Waits until the primary has steered connections to so many workers since the app began. */
  served(count: number): Promise<unknown> {
    return until(
      () => [...this.app.stderr.matchAll(/worker \d+ serves \S+ from socket/g)].length >= count,
      () => `${count} workers with sockets of their own:\n${this.app.stderr}`,
    );
  }
}

export const numbers = (replies: readonly Reply[]): number[] =>
  [...new Set(replies.map(({ id }) => id))].sort((a, b) => a - b);

/** Starts it, and waits until its workers listen and serve. */
export async function ownCluster(
  t: TestContext,
  options: ClusterOptions & { port?: number } = {},
): Promise<OwnCluster> {
  const { kind = 'http', workers = 2, served = workers, listening = workers, env = {} } = options;
  const port = options.port ?? (await freePort('127.0.0.1'));
  const app = startApp(fixture('own-cluster.js'), {
    ...options,
    port,
    stdin: 'pipe',
    env: { KIND: kind, WORKERS: `${workers}`, ADDON: addonPath(), API: join(root, 'dist/index.cjs'), ...env },
  });
  t.after(() => app.stop());
  const cluster = new OwnCluster(app);
  await cluster.seen('listening', listening);
  await cluster.served(served);
  return cluster;
}

/** What `f` does it does while the primary's event loop stands still. */
export async function whileBlocked(cluster: OwnCluster, f: () => Promise<void>): Promise<void> {
  const folder = temporaryFolder('block');
  const file = join(folder, 'go-on');
  cluster.command(`block ${file}`);
  await cluster.seen('blocked');
  try {
    await f();
    assert.deepEqual(cluster.of('free'), [], 'it is blocked still');
  } finally {
    writeFileSync(file, '');
  }
  await cluster.seen('free');
}
