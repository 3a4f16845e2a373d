// SPDX-License-Identifier: Apache-2.0
// What else there is beside the workers that an app forks itself: ports of the primary, ours before theirs, shared ports.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { freePort, until } from './support/app';
import { ownCluster, whileBlocked } from './support/own-cluster';

const HOST = '127.0.0.1';
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const noReusePort = (major < 22 || (major === 22 && minor < 12)) && 'net ignores reusePort before Node 22.12';

describe('a port of the primary', { concurrency: 2 }, () => {
  test('after the forks is its own affair', async (t) => {
    const cluster = await ownCluster(t);
    const port = await freePort(HOST);
    cluster.command(`admin ${port}`);
    await cluster.seen('admin');
    const replies = await cluster.answers(8, port);
    assert.deepEqual([...new Set(replies.map(({ pid }) => pid))], [cluster.app.pid]);
    assert.equal(cluster.app.workers().length, 2);
    assert.equal(cluster.app.stderr.match(/is a listener group/g)?.length, 1);
    await whileBlocked(cluster, async () => {
      await cluster.answersOf([1, 2], 48);
    });
  });

  test('when all workers have ended, too', async (t) => {
    const cluster = await ownCluster(t);
    cluster.command('disconnect');
    await cluster.seen('exit', 2);
    cluster.command(`admin ${await freePort(HOST)}`);
    await cluster.seen('admin');
    await cluster.app.said(/left to Node: the app forks cluster workers of its own/);
  });

  test('before the forks, too, and nothing is multiplied', async (t) => {
    const port = await freePort(HOST);
    const cluster = await ownCluster(t, { env: { ADMIN: `${port}` } });
    await cluster.app.said(/one process: the app forks cluster workers of its own/);
    const replies = await cluster.answers(8, port);
    assert.deepEqual([...new Set(replies.map(({ pid }) => pid))], [cluster.app.pid]);
    assert.equal(cluster.app.workers().length, 2);
    assert.doesNotMatch(cluster.app.stderr, /a first copy is started/);
    await whileBlocked(cluster, async () => {
      await cluster.answersOf([1, 2], 48);
    });
  });

  test('long before the forks: our copies go, its own workers serve', async (t) => {
    const port = await freePort(HOST);
    const cluster = await ownCluster(t, { workers: 0, env: { ADMIN: `${port}` } });
    await cluster.app.said(/worker 2 is ready/);
    const copies = cluster.app.workers();
    assert.equal(copies.length, 2);
    cluster.command('fork 2');
    await cluster.served(2);
    await until(() => !copies.some((pid) => cluster.app.workers().includes(pid)), 'the end of our copies');
    const replies = await cluster.answers(8, port);
    assert.deepEqual([...new Set(replies.map(({ pid }) => pid))], [cluster.app.pid]);
    assert.deepEqual(replies[0]?.told, {
      active: false,
      reason: 'the app forks cluster workers of its own',
    });
    await whileBlocked(cluster, async () => {
      const own = await cluster.answersOf([1, 2], 48);
      for (const { told } of own) assert.deepEqual([told?.active, told?.reason], [true, undefined]);
    });
  });
});

test('workers that ask for reusePort share their port with others', { skip: noReusePort }, async (t) => {
  const cluster = await ownCluster(t, { kind: 'shares', listening: 0, served: 0 });
  const by = new Set<number>();
  await until(
    async () => by.add((await cluster.ask().catch(() => ({ id: 0 }))).id).size > 2,
    'answers of both',
  );
  assert.doesNotMatch(cluster.app.stderr, /is a listener group/);
  const other = createServer().listen({ port: cluster.port, host: HOST, reusePort: true });
  t.after(() => other.close());
  await once(other, 'listening');
});
