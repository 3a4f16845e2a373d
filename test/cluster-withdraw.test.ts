// SPDX-License-Identifier: Apache-2.0
// The kernel takes no steering program any more while the app's own workers serve from sockets of their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './support/app';
import { Namespace, whyNoNamespaces } from './support/netns';
import { whyNoOptmem } from './support/optmem';
import { ownCluster } from './support/own-cluster';
import { PORT, visit } from './support/visits';

const skip = whyNoNamespaces() ?? whyNoOptmem();
const LEAVES = /leaves its own socket/g;
/** A multiple of the numbers of workers. */
const VISITS = 60;

test("no program fits any more: all are served by the primary's round robin, until it listens anew", {
  skip,
}, async (t) => {
  const namespace = new Namespace(t, 'srv');
  const cluster = await ownCluster(t, { kind: 'pids', port: PORT, prefix: namespace.prefix });
  const place = { host: '127.0.0.1', port: PORT, prefix: namespace.prefix };
  const each = async (width = 1) => [...(await visit(place, VISITS, width)).byPid.values()];
  // one may be steered around for a while where the machine is busy
  const bothServe = () => until(async () => (await each()).length === 2, 'both of them serve');
  await bothServe();

  const before = namespace.run('cat', '/proc/sys/net/core/optmem_max').trim();
  namespace.sysctl('net.core.optmem_max', 1);
  cluster.command('fork 1');
  await cluster.app.said(/served by round robin: the kernel keeps no steering program/);
  await until(
    () => [...cluster.app.stderr.matchAll(LEAVES)].length >= 2,
    () => cluster.app.stderr,
  );
  await cluster.seen('listening', 3);
  // one after the other, strictly in turn: by chance nobody gets as many as everybody else
  assert.deepEqual(await each(), [VISITS / 3, VISITS / 3, VISITS / 3]);
  assert.equal(
    (await each(16)).reduce((sum, count) => sum + count),
    VISITS,
  );

  namespace.sysctl('net.core.optmem_max', before);
  cluster.command('disconnect');
  await cluster.seen('exit', 3);
  cluster.command('fork 2');
  await cluster.served(4);
  await bothServe();
});
