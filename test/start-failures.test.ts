// SPDX-License-Identifier: Apache-2.0
// A worker that cannot be started: attempts become rare, as after a death, and one succeeds when it can.
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type App, census, fixture, freePort, hook, multiplied, startApp, until } from './support/app';
import { refusing } from './support/refuse';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
/** Descriptors that a process of the app may have. */
const LIMITED = ['sh', '-c', 'ulimit -n 100; exec "$0" "$@"'];
/** SO_ATTACH_REUSEPORT_CBPF (include/uapi/asm-generic/socket.h). */
const ATTACH = 51;
const WATCHED_MS = 3_000;
/** After 0, 100, 200, 400, 800 and 1,600 ms. */
const MOST_ATTEMPTS = 6;

const bare = new PackageWithoutAddon();
after(() => bare.remove());

interface Options {
  flags: string[];
  /** How many more descriptors the origin may have when the worker dies. */
  leave: number;
  prefix?: string[];
}

/** An app whose origin has no descriptors left, and whose second worker has been killed. */
async function exhausted(t: TestContext, options: Options): Promise<{ app: App; other: number }> {
  const { flags, leave, prefix = [] } = options;
  const app = startApp(fixture('full-app.js'), {
    port: await freePort(HOST),
    hook: flags,
    env: { HOST, LEAVE: String(leave) },
    prefix: [...prefix, ...LIMITED],
  });
  t.after(() => app.stop());
  const [other, victim] = (await multiplied(app, 2, HOST)) as [number, number];
  process.kill(app.pid, 'SIGUSR1');
  await app.said(/full: EMFILE/);
  process.kill(victim, 'SIGKILL');
  await app.said(/worker 2 could not be started/);
  return { app, other };
}

/** The origin has descriptors again: two workers serve. */
async function recovers(app: App): Promise<void> {
  const ready = () => app.stderr.match(/worker 2 is ready/g)?.length;
  assert.equal(ready(), 1);
  process.kill(app.pid, 'SIGUSR1');
  await until(
    () => ready() === 2 && app.workers().length === 2,
    () => `a successor:\n${app.stderr}`,
  );
}

describe('the origin is at its limit of descriptors when a worker has to be replaced', () => {
  const ways: Record<string, Options> = {
    'no socket pair': { flags: ['-r', hook], leave: 0 },
    'a socket pair, but no process': { flags: ['-r', hook], leave: 2 },
    'without the addon': { flags: ['-r', bare.hook], leave: 0 },
  };
  for (const [way, options] of Object.entries(ways)) {
    test(way, async (t) => {
      const { app } = await exhausted(t, options);
      await sleep(WATCHED_MS);
      const attempts = app.stderr.match(/worker 2 could not be started/g)?.length ?? 0;
      t.diagnostic(`${attempts} attempts in ${WATCHED_MS} ms`);
      assert.ok(attempts >= 3 && attempts <= MOST_ATTEMPTS, `${attempts} attempts`);
      await recovers(app);
    });
  }

  test('no steering program: the socket of the worker that cannot be started leaves the group', async (t) => {
    const { app, other } = await exhausted(t, {
      flags: ['-r', hook],
      leave: 2,
      prefix: refusing(`setsockopt:2=${ATTACH}:EPERM`),
    });
    assert.match(app.stderr, /no steering program/);
    await until(
      async () => [...(await census(app.port, 64, HOST)).keys()].join() === String(other),
      () => `answers by the worker that is left, and nobody else:\n${app.stderr}`,
    );
    await recovers(app);
  });
});
