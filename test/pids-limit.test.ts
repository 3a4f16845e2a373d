// SPDX-License-Identifier: Apache-2.0
// The control group has no room for more processes: the app serves with those it has, and has the others when it can.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type App, answering, census, fixture, freePort, multiplied, startApp, until } from './support/app';
import { LimitedGroup, needsGroups } from './support/cgroup';
import { Load } from './support/load';

const HOST = '127.0.0.1';
const WATCHED_MS = 2_000;
/** After 0, 100, 200, 400 and 800 ms, and one more of a timer that is late. */
const MOST_ATTEMPTS = 6;
/** A process with one thread more: Node waits for four, also where it could not start them (src/node_platform.cc). */
const FEW_THREADS = 2;

async function start(t: TestContext, group: LimitedGroup, hook = true): Promise<App> {
  const port = await freePort(HOST);
  const app = startApp(fixture('http-app.js'), { port, env: { HOST }, prefix: group.prefix, hook });
  t.after(() => app.stop());
  await answering(port, HOST);
  return app;
}

interface Scene {
  app: App;
  group: LimitedGroup;
  load: Load;
  /** The worker that is left. */
  other: number;
}

/** Under load worker 2 is killed, and there is no room for another one. */
async function withoutWorker2(t: TestContext): Promise<Scene> {
  const group = new LimitedGroup(t, 'pids').pids('max');
  const app = await start(t, group);
  const [other, victim] = (await multiplied(app, 2, HOST)) as [number, number];
  group.pids(1);
  const load = new Load(app.port, { clients: 4, host: HOST });
  t.after(() => load.stop());
  process.kill(victim, 'SIGKILL');
  await app.said(/worker 2 could not be started: spawn .* EAGAIN/);
  return { app, group, load, other };
}

async function assertOtherServes({ app, load, other }: Scene): Promise<void> {
  const before = load.answered;
  await until(() => load.answered > before + 100, 'answers');
  assert.deepEqual([...(await census(app.port, 24, HOST)).keys()], [other]);
}

/** There is room again. */
async function recovers({ app, group, load }: Scene): Promise<void> {
  group.pids('max');
  await until(
    () => app.stderr.match(/worker 2 is ready/g)?.length === 2,
    () => `a successor:\n${app.stderr}`,
  );
  const { refused, cut } = await load.served();
  assert.deepEqual([refused, cut], [0, 0]);
  assert.equal(app.workers().length, 2);
  assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);
}

describe('pids.max', needsGroups('pids'), () => {
  test('no process more than plain Node has: the app is plain Node, and one line says why', async (t) => {
    const measured = new LimitedGroup(t, 'pids').pids('max');
    const plain = await start(t, measured, false);
    const tasks = measured.pidsNow;
    await plain.stop();
    const group = new LimitedGroup(t, 'pids').pids(tasks);
    const app = await start(t, group);
    await app.said(/^fastsocket: .*/m);
    const lines = app.stderr.match(/^fastsocket: .*/gm) ?? [];
    assert.equal(lines.length, 1, app.stderr);
    assert.match(lines[0] as string, /the app runs as plain Node: the copy could not be started: .*EAGAIN/);
    assert.deepEqual([...(await census(app.port, 12, HOST)).keys()], [app.pid]);
  });

  test('a worker cannot be forked: the others serve, attempts become rare, and one succeeds when it can', async (t) => {
    const scene = await withoutWorker2(t);
    await sleep(WATCHED_MS);
    const attempts = scene.app.stderr.match(/worker 2 could not be started/g)?.length ?? 0;
    t.diagnostic(`${attempts} attempts in ${WATCHED_MS} ms`);
    assert.ok(attempts >= 2 && attempts <= MOST_ATTEMPTS, `${attempts} attempts`);
    await assertOtherServes(scene);
    await recovers(scene);
  });

  test('a worker can be forked, and waits for ever for the threads that it can not have: it is ended', async (t) => {
    const scene = await withoutWorker2(t);
    const { app, group } = scene;
    group.pids(group.pidsNow + FEW_THREADS);
    await until(() => app.workers().length === 2, 'a process');
    await assertOtherServes(scene);
    await app.said(/worker 2 has not begun within \d+ ms and is ended/);
    await recovers(scene);
  });
});
