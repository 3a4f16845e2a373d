// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type App, fixture, startApp, until } from './app';
import type { Namespace } from './netns';

export interface Opened {
  id: number;
  port: number;
  address: string;
  error?: undefined;
}
export type Attempt = Opened | { error: string };

/** lib/index.ts, Destination. */
export interface Destination {
  address: string;
  port: number;
  localAddress?: string;
  inUse: number;
  resting: number;
  chosen: number;
  byKernel: number;
  retries: number;
  local?: number;
}

export interface ConnectorOptions {
  /** false: plain Node. */
  hook?: boolean;
  /** The fixture: one that takes commands. */
  script?: string;
  env?: Record<string, string>;
  /** Words before node, inside the namespace. */
  prefix?: string[];
}

type Way = 'end' | 'destroy' | 'reset' | 'peer' | 'peerResets';

/** A client program in a namespace that does what it is told. */
export class Connector {
  private n = 0;

  constructor(readonly app: App) {}

  async ask<T>(what: string, rest: object = {}): Promise<T> {
    const n = ++this.n;
    this.app.child.stdin?.write(`${JSON.stringify({ n, what, ...rest })}\n`);
    const line = await until(
      () => this.app.stdout.split('\n').find((text) => text.startsWith(`{"n":${n},`)),
      () => `an answer to ${what}:\n${this.app.stderr}`,
      60_000,
    );
    const { answer } = JSON.parse(line);
    assert.equal(answer?.failed, undefined);
    return answer;
  }

  attempt(count: number, options: object): Promise<Attempt[]> {
    return this.ask('open', { count, options });
  }

  /** All of them have to succeed. */
  async open(count: number, options: object): Promise<Opened[]> {
    const attempts = await this.attempt(count, options);
    const failed = attempts.filter(({ error }) => error !== undefined);
    assert.deepEqual(failed, []);
    return attempts as Opened[];
  }

  close(opened: readonly Opened[], way: Way): Promise<number> {
    return this.ask('close', { ids: opened.map(({ id }) => id), way });
  }

  destinations(): Promise<Destination[]> {
    return this.ask('state');
  }

  /** Its standard input ends, and so does it. */
  async end(): Promise<void> {
    this.app.child.stdin?.end();
    await this.app.ended;
  }

  /** What is known of the one destination with this port. */
  async destination(port: number): Promise<Destination> {
    const found = (await this.destinations()).filter((one) => one.port === port);
    assert.equal(found.length, 1, JSON.stringify(found));
    return found[0] as Destination;
  }
}

/** Starts such a client; the debug log is on. */
export function connector(
  t: TestContext,
  namespace: Namespace,
  { hook = true, script = 'connect-app.js', env = {}, prefix = [] }: ConnectorOptions = {},
): Connector {
  const app = startApp(fixture(script), {
    port: 0,
    hook,
    prefix: [...namespace.prefix, ...prefix],
    env,
    stdin: 'pipe',
  });
  t.after(() => app.stop());
  return new Connector(app);
}

/** The other ends, in the same namespace: a plain server on each of the ports. */
export function peer(t: TestContext, namespace: Namespace, ports: readonly number[]): Promise<App> {
  return plainServer(t, namespace, 'connect-peer.js', { PORTS: ports.join(',') });
}

/** A fixture under plain Node that says when it listens. */
export async function plainServer(
  t: TestContext,
  namespace: Namespace,
  script: string,
  env: Record<string, string> = {},
): Promise<App> {
  const app = startApp(fixture(script), { port: 0, hook: false, prefix: namespace.prefix, env });
  t.after(() => app.stop());
  await until(
    () => app.stdout.includes('listening'),
    () => `${script}:\n${app.stderr}`,
  );
  return app;
}
