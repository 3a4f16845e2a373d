// SPDX-License-Identifier: Apache-2.0
// An app that may use more than when it started has more workers; with less nobody is ended, and who ends is not replaced.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { type App, answeredBy, request, until } from './support/app';
import { figures, HOST } from './support/balance';
import { LimitedGroup, needsGroups } from './support/cgroup';
import { type Growing, serving, start, underLoad } from './support/growth';
import { Load } from './support/load';
import { loopMask, ownCpus } from './support/masks';
import { refusing } from './support/refuse';
import { standStill } from './support/tcp-table';

/** SO_ATTACH_REUSEPORT_CBPF (include/uapi/asm-generic/socket.h). */
const ATTACH = 51;
const NOBODY = 65534;
const few = ownCpus.length < 2 && 'needs two CPUs';
const root = process.getuid?.() !== 0 && 'needs root';
const noPrlimit = spawnSync('prlimit', ['--version']).status !== 0 && 'there is no prlimit here';

/** A worker ends by itself. */
async function leaves({ app }: Growing, pid: number): Promise<void> {
  process.kill(pid, 'SIGWINCH');
  await until(
    () => !app.workers().includes(pid),
    () => `${pid} ends:\n${app.stderr}`,
  );
}

const notReplaced = (app: App): number => app.stderr.match(/worker \d+ is not replaced/g)?.length ?? 0;

test('more CPUs than at the start: more workers, which are like the others', { skip: few }, async (t) => {
  const tree = await start(t, { cpus: 2 });
  const { app } = tree;
  const two = await serving(tree, 2);
  const four = await underLoad(t, tree, () => tree.cpus(4), 4);
  assert.deepEqual(four.slice(0, 2), two, 'the first ones go on');
  // what waits for one that is blocked is served by the others
  const blocked = four[3] as number;
  await standStill(blocked);
  const asked = Array.from({ length: 60 }, () => request(app.port, '/', HOST).then(answeredBy));
  const by = await Promise.all(asked);
  assert.equal(by.length, 60);
  assert.ok(by.every((pid) => pid !== undefined && pid !== blocked));
  process.kill(blocked, 'SIGCONT');
  const { seats } = await figures({ app });
  assert.equal(seats.length, 4);
  assert.ok((seats[3]?.taken ?? 0) > 0, JSON.stringify(seats));
  await serving(tree, 4);
  // it has a successor
  process.kill(blocked, 'SIGKILL');
  await until(
    () => (app.stderr.match(/worker 4 is ready on/g)?.length ?? 0) === 4,
    () => `a successor:\n${app.stderr}`,
  );
  await serving(tree, 4);
  // and they end with the app
  const { signal } = await app.stop('SIGTERM');
  assert.equal(signal, 'SIGTERM');
  assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);
});

test('fewer CPUs: all go on, who ends is not replaced; more again: there are as many as before', {
  skip: few,
}, async (t) => {
  const tree = await start(t, { cpus: 2 });
  const { app } = tree;
  await serving(tree, 2);
  await underLoad(t, tree, () => tree.cpus(4), 4);
  tree.cpus(2);
  await underLoad(t, tree, () => {}, 4);
  const [first, , third] = app.workers() as [number, number, number];
  await leaves(tree, first);
  await leaves(tree, third);
  await until(
    () => notReplaced(app) === 2,
    () => `nobody replaces them:\n${app.stderr}`,
  );
  const [second] = await serving(tree, 2);
  // of two there is one too few
  await leaves(tree, second as number);
  const two = await serving(tree, 2);
  assert.ok(!two.includes(second as number));
  assert.equal(notReplaced(app), 2);
  const four = await underLoad(t, tree, () => tree.cpus(4), 4);
  assert.deepEqual(four.slice(0, 2), two);
  const six = await underLoad(t, tree, () => tree.cpus(6), 6);
  assert.deepEqual(six.slice(0, 4), four);
});

test('the CPUs of the control group become one, a worker ends, and they are two again', {
  skip: needsGroups('cpuset').skip || few,
}, async (t) => {
  const two = ownCpus.slice(0, 2);
  const group = new LimitedGroup(t, 'cpuset').cpus(two);
  const tree = await start(t, { prefix: group.prefix });
  const { app } = tree;
  const workers = await serving(tree, 2);
  await underLoad(t, tree, () => group.cpus(two.slice(0, 1)), 2);
  await app.said(/the event loop is on no CPU of its own now.*the event loop is on no CPU of its own now/s);
  const [left, leaving] = workers as [number, number];
  await leaves(tree, leaving);
  await until(
    () => notReplaced(app) === 1,
    () => `nobody replaces it:\n${app.stderr}`,
  );
  assert.deepEqual(await serving(tree, 1), [left]);
  await underLoad(t, tree, () => group.cpus(two), 2);
  await until(
    () => String(app.workers().map(loopMask).sort()) === String(two),
    () => `a CPU each: ${app.workers().map(loopMask)}\n${app.stderr}`,
  );
});

test('a larger quota: more workers', { skip: needsGroups('cpu').skip || few }, async (t) => {
  const group = new LimitedGroup(t, 'cpu').quota(2);
  const tree = await start(t, { cpus: 4, prefix: group.prefix });
  await serving(tree, 2);
  await underLoad(t, tree, () => group.quota(3), 3);
});

test('without a steering program', { skip: few }, async (t) => {
  const tree = await start(t, { cpus: 2, prefix: refusing(`setsockopt:2=${ATTACH}:EPERM`) });
  await serving(tree, 2);
  await tree.app.said(/no steering program/);
  await underLoad(t, tree, () => tree.cpus(4), 4);
});

// nothing in the origin ticks then
for (const [what, env] of Object.entries<Record<string, string>>({
  'without balancing': { FASTSOCKET_BALANCE: 'off' },
  'with balancing that has nothing to do': { FASTSOCKET_BALANCE: 'shares', FASTSOCKET_STEER: 'hash' },
}))
  test(`${what}, by what comes from the same machine alone`, { skip: few }, async (t) => {
    const tree = await start(t, { cpus: 2, env });
    await serving(tree, 2);
    await underLoad(t, tree, () => tree.cpus(4), 4);
  });

test('an app that has given up its user keeps its number, and says why', { skip: root || few }, async (t) => {
  const tree = await start(t, { cpus: 2 });
  const { app } = tree;
  const workers = await serving(tree, 2);
  process.kill(app.pid, 'SIGWINCH');
  const why = `there is room for 4 workers, and more than 2 are not to be had: \\S+: socket 3 of the listener group could not be made \\(errno \\d+\\) as user ${NOBODY} .*; for good`;
  const load = new Load(app.port, { clients: 3, host: HOST });
  t.after(() => load.stop());
  tree.cpus(4);
  await app.said(new RegExp(why));
  const { answered, ...failed } = await load.served();
  assert.ok(answered > 0);
  assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  assert.deepEqual(app.workers(), workers);
});

test('no descriptors for more sockets: the number stays, and nothing of the first ones is left', {
  skip: root || noPrlimit || few,
}, async (t) => {
  const tree = await start(t, { cpus: 2 });
  const { app, second } = tree;
  const workers = await serving(tree, 2);
  const open = () => readdirSync(`/proc/${app.pid}/fd`).map(Number);
  const before = open();
  // for the three of the first group, and one of the second
  let most = 0;
  for (let free = 0; free < 4; most++) if (!before.includes(most)) free++;
  execFileSync('prlimit', ['--pid', `${app.pid}`, `--nofile=${most}:`]);
  const loads = [app.port, second].map((port) => new Load(port, { clients: 3, host: HOST }));
  t.after(() => loads.forEach((load) => load.stop()));
  tree.cpus(5);
  await app.said(/there is room for 5 workers, and more than 2 are not to be had: .*\(errno 24\)/);
  // but for what it opens to see its limits, now and then
  await until(
    () => String(open()) === String(before),
    () => `${before}, not ${open()}`,
  );
  for (const load of loads) {
    const { answered, ...failed } = await load.served();
    assert.ok(answered > 0);
    assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  }
  assert.deepEqual(app.workers(), workers);
});
