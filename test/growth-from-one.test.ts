// SPDX-License-Identifier: Apache-2.0
// An app that is started with room for one worker is plain Node until there is room for more.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { census, request, until } from './support/app';
import { HOST } from './support/balance';
import { LimitedGroup, needsGroups } from './support/cgroup';
import { untilPortFree } from './support/ending';
import { type Growing, serving, start, underLoad } from './support/growth';
import { Load } from './support/load';
import { loopMask, ownCpus } from './support/masks';
import { refusing } from './support/refuse';

const few = ownCpus.length < 2 && 'needs two CPUs';
const root = process.getuid?.() !== 0 && 'needs root';
const two = ownCpus.slice(0, 2);
const MIB = 1024 * 1024;
/** SO_ATTACH_REUSEPORT_CBPF (include/uapi/asm-generic/socket.h). */
const ATTACH = 51;
/** Servers that look would have seen it twice. */
const LOOKS_MS = 4_000;

test('from one CPU to two', { skip: needsGroups('cpuset').skip || few }, async (t) => {
  const group = new LimitedGroup(t, 'cpuset').cpus(two.slice(0, 1));
  const tree = await start(t, { prefix: group.prefix });
  const { app } = tree;
  await app.said(/one process: one worker is no gain/);
  assert.deepEqual([...(await census(app.port, 5, HOST)).keys()], [app.pid]);
  const workers = await underLoad(t, tree, () => group.cpus(two), 2);
  await until(
    () => String(app.workers().map(loopMask).sort()) === String(two),
    () => `a CPU each: ${app.workers().map(loopMask)}\n${app.stderr}`,
  );
  assert.match(app.stderr, /workers 2 that there is room for now/);
  assert.doesNotMatch(app.stderr, /as asked for/);
  assert.ok(!(await census(app.port, 20, HOST)).has(app.pid), 'the first process stands by');
  const another = createServer().listen({ port: app.port, host: HOST, exclusive: true });
  t.after(() => another.close());
  const [error] = (await once(another, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'EADDRINUSE', 'as ever');
  process.kill(workers[0] as number, 'SIGKILL');
  await until(
    () => app.workers().length === 2 && !app.workers().includes(workers[0] as number),
    'a successor',
  );
  await serving(tree, 2);
  const { signal } = await app.stop('SIGTERM');
  assert.equal(signal, 'SIGTERM');
  assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);
  for (const port of [app.port, tree.second]) await untilPortFree(port);
});

test('from a quota of less than one CPU to four, and more again', {
  skip: needsGroups('cpu').skip || few,
}, async (t) => {
  const group = new LimitedGroup(t, 'cpu').quota(0.9);
  const tree = await start(t, { cpus: 4, prefix: group.prefix });
  const { app } = tree;
  await app.said(/one process: one worker is no gain/);
  await underLoad(t, tree, () => group.quota(2), 2);
  await underLoad(t, tree, () => group.quota(4), 4);
});

test('from a memory limit that holds one to a larger one', {
  skip: needsGroups('memory').skip || few,
}, async (t) => {
  const group = new LimitedGroup(t, 'memory').memory(128 * MIB);
  const tree = await start(t, { cpus: 2, prefix: group.prefix });
  const { app } = tree;
  await app.said(/one process: one worker is no gain/);
  await underLoad(t, tree, () => group.memory(2_048 * MIB), 2);
});

test('servers that have closed meanwhile are not among them', { skip: few }, async (t) => {
  const tree = await start(t, { cpus: 1, env: { CLOSES: 'once' } });
  const { app } = tree;
  await app.said(/closed once/);
  await underLoad(t, tree, () => tree.cpus(2), 2);
});

test('a copy that fails: it stays as it is, and says why', { skip: few }, async (t) => {
  const tree = await start(t, { cpus: 1, env: { FAILS: 'as a copy' } });
  const { app } = tree;
  const load = new Load(app.port, { clients: 3, host: HOST });
  t.after(() => load.stop());
  tree.cpus(2);
  await app.said(/^fastsocket: the app runs as plain Node: the copy exited with code 7/m);
  const { answered, ...failed } = await load.served();
  assert.ok(answered > 0);
  assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  assert.deepEqual([...(await census(app.port, 5, HOST)).keys()], [app.pid]);
  assert.deepEqual(app.workers(), []);
});

test('where the kernel takes no steering program it stays as it is', { skip: few }, async (t) => {
  const tree = await start(t, { cpus: 1, prefix: refusing(`setsockopt:2=${ATTACH}:EPERM`) });
  const { app } = tree;
  const load = new Load(app.port, { clients: 3, host: HOST });
  t.after(() => load.stop());
  tree.cpus(2);
  await app.said(/more than 1 are not to be had: .*the kernel takes no steering program \(errno 1\)/);
  const { answered, ...failed } = await load.served();
  assert.ok(answered > 0);
  assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  assert.deepEqual(app.workers(), []);
});

test('an app that has given up its user stays as it is', { skip: root || few }, async (t) => {
  const tree = await start(t, { cpus: 1 });
  const { app } = tree;
  process.kill(app.pid, 'SIGWINCH');
  const load = new Load(app.port, { clients: 3, host: HOST });
  t.after(() => load.stop());
  tree.cpus(2);
  await app.said(/one process for good: .*could not be made \(errno \d+\) as user 65534/);
  const { answered, ...failed } = await load.served();
  assert.ok(answered > 0);
  assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  assert.deepEqual(app.workers(), []);
});

async function stays({ app, cpus }: Growing): Promise<void> {
  cpus(2);
  for (const end = performance.now() + LOOKS_MS; performance.now() < end; )
    await request(app.port, '/', HOST);
  assert.deepEqual(app.workers(), []);
}

test('one worker that was asked for stays', { skip: few }, async (t) => {
  await stays(await start(t, { cpus: 1, env: { FASTSOCKET_WORKERS: '1' } }));
});

for (const when of ['before', 'after'])
  test(`an app that has forked a cluster worker ${when} it listened stays as it is`, {
    skip: few,
  }, async (t) => {
    const tree = await start(t, { cpus: 1, env: { FORKS: when } });
    await tree.app.said(/forked once/);
    await tree.app.said(/one process for good: the app forks/);
    await stays(tree);
  });

test('so does one that has got ready to', { skip: few }, async (t) => {
  const tree = await start(t, { cpus: 1, env: { FORKS: 'ready' } });
  await tree.app.said(/one process for good: the app forks/);
  await stays(tree);
});
