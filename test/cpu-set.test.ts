// SPDX-License-Identifier: Apache-2.0
// The CPUs of an app that serves become fewer and more, as a container's do: workers follow, and nobody notices.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { formatCpuList } from '../lib/config/cpulist';
import { type App, type AppOptions, fixture, freePort, multiplied, startApp, until } from './support/app';
import { askEach } from './support/ask';
import { LimitedGroup, needsGroups } from './support/cgroup';
import { Load } from './support/load';
import { loopMask, otherMasks, ownCpus } from './support/masks';
import { ownCluster } from './support/own-cluster';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
/** What an app's owner may count on. */
const FOLLOWED_MS = 2_000;
/** Without any traffic a worker that is displaced says so at its next look, every two seconds. */
const IDLE_MS = 6_000;
const few = ownCpus.length < 2 && `needs two CPUs, this process may use ${formatCpuList(ownCpus)}`;
const cgroup = { skip: needsGroups('cpuset').skip || few };
const taskset = { skip: (spawnSync('taskset', ['-V']).status !== 0 && 'there is no taskset here') || few };
const two = ownCpus.slice(0, 2) as [number, number];
const [one] = two;
const both = formatCpuList(two);

interface Where {
  pid: number;
  parallelism: number;
  core: string;
  program: string;
}

async function start(t: TestContext, options: AppOptions): Promise<{ app: App; workers: number[] }> {
  const app = startApp(fixture('cpu-set-app.js'), {
    ...options,
    port: await freePort(HOST),
    env: { HOST, ...options.env },
  });
  t.after(() => app.stop());
  return { app, workers: await multiplied(app, 2, HOST) };
}

const loops = (pids: readonly number[]): string[] => pids.map(loopMask).sort();

/** Where each worker said last that its event loop is. It may be told so twice: a change is looked at again a moment later. */
const said = (app: App, workers: readonly number[]): (string | undefined)[] =>
  workers
    .map((pid) => [
      ...app.stderr.matchAll(new RegExp(`^FASTSOCKET ${pid}: the event loop is on (.*) now`, 'gm')),
    ])
    .map((all) => all.at(-1)?.[1])
    .sort();

/** Each on a CPU of its own, by their own account too: what they have been told has come. */
const apart = (app: App, workers: readonly number[]): boolean =>
  String(loops(workers)) === String(two) &&
  String(said(app, workers)) === String(two.map((cpu) => `CPU ${cpu}`));

/** On one CPU, and told so. */
const together = (app: App, workers: readonly number[]): boolean =>
  loops(workers).every((mask) => mask === String(one)) &&
  said(app, workers).every((where) => where === 'no CPU of its own');

/** How long until it is so, in ms. */
async function follows(check: () => boolean, app: App, ms?: number): Promise<number> {
  const begun = performance.now();
  await until(check, () => `the workers follow:\n${app.stderr}`, ms);
  return Math.round(performance.now() - begun);
}

/** What every process believes, where all may use these CPUs. */
async function assertBelieved(app: App, workers: readonly number[], cpus: readonly number[]): Promise<void> {
  const list = formatCpuList(cpus);
  const told = await askEach<Where>(app.port, '/where', workers);
  for (const { parallelism, program } of told) assert.deepEqual([parallelism, program], [cpus.length, list]);
  const cores = told.map(({ core }) => core).sort();
  assert.deepEqual(cores, cpus.length > 1 ? cpus.map(String) : ['none', 'none']);
  await until(
    () => workers.every((pid) => String(otherMasks(pid)) === list),
    () => `other threads on ${list}: ${workers.map(otherMasks)}`,
    5_000,
  );
}

/** Fewer, more, fewer, more, under load. */
async function underLoad(
  t: TestContext,
  { app, workers }: { app: App; workers: number[] },
  set: (cpus: readonly number[]) => void,
): Promise<void> {
  assert.deepEqual(loops(workers), two.map(String));
  const load = new Load(app.port, { clients: 4, host: HOST });
  t.after(() => load.stop());
  const shrunk: number[] = [];
  const grown: number[] = [];
  for (let round = 0; round < 2; round++) {
    set([one]);
    shrunk.push(await follows(() => together(app, workers), app));
    await assertBelieved(app, workers, [one]);
    set(two);
    grown.push(await follows(() => apart(app, workers), app));
    await assertBelieved(app, workers, two);
  }
  t.diagnostic(`followed in ${shrunk} and ${grown} ms`);
  // of one of two that is too slow the machine may be the cause
  for (const took of [shrunk, grown]) assert.ok(Math.min(...took) <= FOLLOWED_MS, `${took} ms`);
  const { answered, ...failed } = await load.served();
  assert.ok(answered > 100, `${answered} answered`);
  assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  assert.deepEqual(app.workers(), workers, 'the same workers');
  assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);
}

describe('the CPUs of the control group', cgroup, () => {
  for (const steer of ['auto', 'cpu']) {
    test(`become fewer and more under load (steering: ${steer})`, async (t) => {
      const group = new LimitedGroup(t, 'cpuset').cpus(two);
      const tree = await start(t, { prefix: group.prefix, env: { FASTSOCKET_STEER: steer } });
      await underLoad(t, tree, (cpus) => group.cpus(cpus));
      if (steer === 'auto') return;
      const notes = [...tree.app.stderr.matchAll(/steering: \S+: (.*)/g)].map(([, note]) => note);
      const byCpu = 'by CPU, 2 of 2 workers on a CPU of their own';
      const byChance = 'evenly over 2 workers: no worker is pinned';
      assert.deepEqual(notes.slice(notes.indexOf(byCpu)), [byCpu, byChance, byCpu, byChance, byCpu]);
    });
  }

  test('the same without any traffic and without balancing: the workers see it', async (t) => {
    const group = new LimitedGroup(t, 'cpuset').cpus(two);
    const { app, workers } = await start(t, { prefix: group.prefix, env: { FASTSOCKET_BALANCE: 'off' } });
    group.cpus([one]);
    await follows(() => together(app, workers), app, IDLE_MS);
    group.cpus(two);
    await follows(() => apart(app, workers), app, IDLE_MS);
  });

  test("an app's own cluster workers follow, too", async (t) => {
    const group = new LimitedGroup(t, 'cpuset').cpus(two);
    const cluster = await ownCluster(t, { prefix: group.prefix });
    const workers = cluster.app.workers();
    assert.deepEqual(loops(workers), two.map(String));
    const cores = async () =>
      (await cluster.answers(48))
        .map(({ told }) => String(told?.core))
        .filter((core, i, all) => all.indexOf(core) === i)
        .sort();
    // on a busy machine one of them may be steered around at first
    await until(
      async () => String(await cores()) === String(two),
      () => `a CPU each at first:\n${cluster.app.stderr}`,
    );
    group.cpus([one]);
    await until(
      async () => String(await cores()) === 'undefined',
      () => `no CPU of their own:\n${cluster.app.stderr}`,
    );
    group.cpus(two);
    await until(
      async () => String(await cores()) === String(two),
      () => `a CPU each:\n${cluster.app.stderr}`,
    );
    // whoever is told a second time is on no CPU of its own for a moment
    await until(
      () => String(loops(workers)) === String(two),
      () => `a CPU each: ${loops(workers)}`,
    );
  });
});

test('taskset on all of the app: what it says holds for everything', taskset, async (t) => {
  const tree = await start(t, { prefix: ['taskset', '-c', both] });
  const { app, workers } = tree;
  await underLoad(t, tree, (cpus) => {
    // the origin last: it looks at its own mask, and what it then tells the workers is not to be undone
    for (const pid of [...workers, app.pid])
      execFileSync('taskset', ['-acp', formatCpuList(cpus), String(pid)], { stdio: 'ignore' });
  });
});

test('taskset on the origin first, and on workers that have followed already', taskset, async (t) => {
  const { app, workers } = await start(t, { prefix: ['taskset', '-c', String(one)] });
  const load = new Load(app.port, { clients: 4, host: HOST });
  t.after(() => load.stop());
  const set = (pid: number) => execFileSync('taskset', ['-acp', both, String(pid)], { stdio: 'ignore' });
  set(app.pid);
  await until(
    () => apart(app, workers),
    () => `a CPU each:\n${app.stderr}`,
  );
  // a worker sees at its next look that it has lost its CPU
  for (const pid of workers) set(pid);
  await follows(() => String(loops(workers)) === String(two), app, IDLE_MS);
  await assertBelieved(app, workers, two);
});

test(
  'workers that hear of other CPUs before these are theirs: all that they start may use them',
  taskset,
  async (t) => {
    const folder = temporaryFolder('hold');
    const HOLD = join(folder, 'listen');
    const app = startApp(fixture('cpu-set-app.js'), {
      port: await freePort(HOST),
      prefix: ['taskset', '-c', String(one)],
      env: { HOST, HOLD },
    });
    t.after(() => app.stop());
    await app.said(/worker 1 is ready/);
    await until(() => app.workers().length === 2, 'a second worker, which does not listen yet');
    const load = new Load(app.port, { clients: 4, host: HOST });
    t.after(() => load.stop());
    // of the origin alone: the kernel changes the threads of a control group one after the other
    execFileSync('taskset', ['-acp', both, String(app.pid)], { stdio: 'ignore' });
    await app.said(/the event loop is on CPU \d+ now/);
    writeFileSync(HOLD, '');
    const workers = await multiplied(app, 2, HOST);
    assert.deepEqual(loops(workers), two.map(String));
    for (const { parallelism, program } of await askEach<Where>(app.port, '/where', workers))
      assert.deepEqual([parallelism, program], [2, both]);
  },
);
