// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type App, answering, fixture, freePort, multiplied, startApp, until } from './app';
import { Ledger } from './ledger';

export interface Way {
  /** As fixtures/port-askers.js calls it. */
  way: string;
  to?: string;
  host?: string;
}

export interface Asker {
  app: App;
  ledger: Ledger;
}

/** Starts a program that asks whether its port is taken. */
export async function startAsker(
  t: TestContext,
  { way, to = '127.0.0.1', host = to }: Way,
  hook: boolean | string[],
): Promise<Asker> {
  const ledger = new Ledger();
  const port = await freePort();
  const env = { LEDGER: ledger.path, WAY: way, TO: to, HOST: host, SECOND: String(await freePort()) };
  const app = startApp(fixture('port-askers.js'), { port, env, hook });
  t.after(() => app.stop());
  return { app, ledger };
}

/** What a process has noted, on whatever port. */
const story = ({ app, ledger }: Asker, pid: number): string[] =>
  ledger.of(pid).map((event) => event.replaceAll(String(app.port), 'PORT'));

/** The app and each of its copies ask, and are answered, as in plain Node. */
export async function answeredAsPlain(t: TestContext, way: Way, hook: boolean | string[]): Promise<void> {
  const plain = await startAsker(t, way, false);
  await answering(plain.app.port, way.to);
  const expected = story(plain, plain.app.pid);
  assert.match(expected[0] ?? '', /ECONNREFUSED/);
  const asker = await startAsker(t, way, hook);
  const { app } = asker;
  const workers = await multiplied(app, 2, way.to);
  assert.equal(workers.length, 2);
  for (const pid of [app.pid, ...workers]) {
    // one that listens elsewhere first is ready before it asks
    await until(
      () => story(asker, pid).length >= expected.length,
      () => `the end of ${story(asker, pid)}\n${app.stderr}`,
    );
    assert.deepEqual(story(asker, pid), expected);
  }
}
