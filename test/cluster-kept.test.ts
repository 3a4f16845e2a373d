// SPDX-License-Identifier: Apache-2.0
// Of the app's own workers, too, one that has helped another keeps that one's queue: for as long as there is anything to
// help with, and in nobody's way.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { onCpus, ownCpus } from './support/masks';
import { numbers, type OwnCluster, ownCluster, type Reply } from './support/own-cluster';
import { listenersOf, whyNoSockets } from './support/tcp-table';
import { temporaryFolder } from './support/temporary';

const skip = whyNoSockets() ?? (ownCpus.length < 2 && 'needs two CPUs');

interface Blocking {
  cluster: OwnCluster;
  /** Whoever is blocked goes on. */
  end(): void;
  /** From now on who blocks does so until then. */
  again(): void;
}

/** Two workers and two CPUs; what comes to one that is blocked is offered to the other, and nothing else is done about it. */
async function begin(t: TestContext): Promise<Blocking> {
  const folder = temporaryFolder('block');
  const file = join(folder, 'go-on');
  const end = () => writeFileSync(file, '');
  // before the app is stopped: who is blocked would outlive it
  t.after(end);
  const env = { GO_ON: file, FASTSOCKET_BALANCE: 'steal' };
  const cluster = await ownCluster(t, { env, prefix: onCpus(2) });
  return { cluster, end, again: () => rmSync(file) };
}

/** One of two is blocked for a while, and the other one keeps its queue. Returns the one that was. */
async function helped({ cluster, end, again }: Blocking): Promise<Reply> {
  const victim = await cluster.ask('/block');
  const replies = await cluster.answers(40);
  const [helper] = replies;
  assert.ok(helper && helper.id !== victim.id && replies.every(({ id }) => id === helper.id));
  await until(
    async () => (await listenersOf(helper.pid, cluster.port)) === 2,
    'its queue, kept by the other one',
  );
  end();
  await until(async () => (await cluster.ask()).id === victim.id, 'its return');
  again();
  return victim;
}

test('the port is taken again while a worker is blocked that has helped another one', {
  skip,
  timeout: 20_000,
}, async (t) => {
  const blocking = await begin(t);
  const { cluster } = blocking;
  const { id } = await helped(blocking);
  cluster.command(`disconnect ${id}`);
  await cluster.seen('exit');
  const helper = await cluster.ask('/block');
  cluster.command(`disconnect ${helper.id}`);
  cluster.command('fork 1');
  await cluster.served(3);
  assert.deepEqual(numbers(await cluster.answers(16)), [3]);
  blocking.end();
  await cluster.seen('exit', 2);
});

test('workers that the app has replaced do not count: each of the others has a CPU', {
  skip,
  timeout: 20_000,
}, async (t) => {
  const blocking = await begin(t);
  const { cluster } = blocking;
  cluster.command('fork 1');
  await cluster.served(3);
  cluster.command('disconnect 1');
  await cluster.seen('exit');
  await helped(blocking);
});
