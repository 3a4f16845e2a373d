// SPDX-License-Identifier: Apache-2.0
// An app that forks cluster workers itself sees of them what it sees in plain Node, from fork() to the end of all. The control:
// Node's own reusePort, with which each worker has a socket of its own, too, and most of that is lost.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type App, fixture, freePort, lives, startApp, until } from './support/app';
import { ownCluster } from './support/own-cluster';

const HOST = '127.0.0.1';
/** Of the fixture; each has two listeners. */
const WORKERS = 8;
const SERVES = /worker \d+ serves \S+ from socket/g;
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const noReusePort = (major < 22 || (major === 22 && minor < 12)) && 'net ignores reusePort before Node 22.12';

const socketsOf = ({ stderr }: App): number => stderr.match(SERVES)?.length ?? 0;

async function run(t: TestContext, hook: boolean) {
  const app = startApp(fixture('cluster-documented.js'), {
    port: await freePort(HOST),
    hook,
    env: { HOST },
    stdin: 'pipe',
  });
  t.after(() => app.stop());
  const why = () => `${app.stdout}\n${app.stderr}`;
  await until(() => /^ready$/m.test(app.stdout), why, 60_000);
  if (hook) await until(() => socketsOf(app) === 2 * WORKERS, why, 30_000);
  app.child.stdin?.write('go\n');
  await until(() => app.child.exitCode !== null || app.child.signalCode !== null, why, 60_000);
  return {
    ended: await app.ended,
    said: app.stdout.split('\n').filter(Boolean),
    stderr: app.stderr.replace(/^FASTSOCKET .*\n/gm, ''),
  };
}

test('events, states and ends of workers are those of plain Node', async (t) => {
  const plain = await run(t, false);
  assert.deepEqual(plain.ended, { code: 0, signal: null }, plain.stderr);
  assert.equal(plain.said.filter((line) => line.startsWith('[')).length, WORKERS);
  assert.deepEqual(await run(t, true), plain);
});

test("the control: Node's own reusePort has no 'listening', and disconnect() ends nobody", {
  skip: noReusePort,
}, async (t) => {
  const pids = new Map<number, number>();
  // before the primary's end, which is seen when nobody has its output any more
  t.after(() => {
    for (const pid of pids.values()) if (lives(pid)) process.kill(pid, 'SIGKILL');
  });
  const cluster = await ownCluster(t, { hook: false, kind: 'shares', listening: 0, served: 0 });
  await until(async () => {
    const { id, pid } = await cluster.ask().catch(() => ({ id: 0, pid: 0 }));
    if (id > 0) pids.set(id, pid);
    return pids.size === 2;
  }, 'answers of both');
  cluster.command('disconnect 1');
  cluster.command('disconnect');
  await cluster.seen('disconnect', 2);
  const answered = new Set<number>();
  await until(async () => answered.add((await cluster.ask()).id).size === 2, 'answers of both, still');
  // cluster.disconnect() calls back when a worker's exit has been seen (lib/internal/cluster/primary.js, removeWorker)
  for (const event of ['listening', 'exit', 'all disconnected']) assert.deepEqual(cluster.of(event), []);
});
