// SPDX-License-Identifier: Apache-2.0
// Apps that fork cluster workers themselves: each worker accepts from a socket of its own, and nothing else is different.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fixture, freePort, hookModule, until } from './support/app';
import { whoAnswers } from './support/clients';
import { ownCpus } from './support/masks';
import {
  type ClusterOptions,
  numbers,
  type OwnCluster,
  ownCluster,
  type Reply,
  whileBlocked,
} from './support/own-cluster';
import { refusing } from './support/refuse';

const HOST = '127.0.0.1';

/** The CPU that each of these workers says it is pinned to. */
const cores = (replies: Reply[], ids: number[]) =>
  ids.map((id) => replies.findLast((reply) => reply.id === id)?.told?.core);

/** The same, when each has one to itself. */
const pinned = (cluster: OwnCluster, ids: number[]) =>
  until(
    async () => {
      const found = cores(await cluster.answers(48), ids);
      return new Set(found).size === ids.length && !found.includes(undefined) && found;
    },
    () => `CPUs of ${ids}:\n${cluster.app.stderr}`,
  );

describe("each of the app's own workers accepts by itself", { concurrency: 2 }, () => {
  const ways: Record<string, ClusterOptions & { port?: number }> = {
    'on a fixed port': {},
    'on port 0, the same for all': { port: 0 },
    'with --import': { hook: ['--import', hookModule] },
    'with messages in the other serialization': { env: { SERIALIZATION: 'advanced' } },
  };
  for (const [what, options] of Object.entries(ways)) {
    test(what, async (t) => {
      const cluster = await ownCluster(t, options);
      const told = cluster.of('listening').map(({ id, ...rest }) => rest);
      const expected = {
        event: 'listening',
        address: HOST,
        addressType: 4,
        port: cluster.port,
      };
      assert.deepEqual(told, [expected, expected]);
      assert.ok(cluster.port > 0);
      if (options.port === undefined) assert.equal(cluster.port, cluster.app.port);
      await whileBlocked(cluster, async () => {
        const replies = await cluster.answersOf([1, 2], 96);
        // each has its own, where there are as many, and the quota allows it
        const cores = new Set(replies.map(({ told }) => told?.core));
        assert.equal(cores.size, /; pinned/.test(cluster.app.stderr) ? 2 : 1);
        for (const id of [1, 2]) {
          const accepted = replies.filter((reply) => reply.id === id).map((reply) => reply.accepted);
          // of its own listeners: not one has come by way of the primary
          assert.ok(Math.max(...accepted) >= accepted.length, `worker ${id} has accepted ${accepted}`);
        }
      });
      const { address } = await cluster.ask('/address');
      assert.deepEqual(address, { address: HOST, family: 'IPv4', port: cluster.port });
    });
  }

  test('a server that speaks first', async (t) => {
    const cluster = await ownCluster(t, { kind: 'greets' });
    await whileBlocked(cluster, async () => {
      const by = new Set<number>();
      await until(async () => {
        by.add(await whoAnswers('net', { port: cluster.port, host: HOST }));
        return by.size === 2;
      }, 'greetings of both');
    });
  });

  test('two servers in each worker', async (t) => {
    const second = await freePort(HOST);
    const cluster = await ownCluster(t, {
      kind: 'two servers',
      served: 4,
      env: { SECOND: `${second}` },
    });
    await whileBlocked(cluster, async () => {
      for (const port of [cluster.app.port, second]) await cluster.answersOf([1, 2], 48, port);
    });
  });

  test('as many as are forked later, also on the sockets of those that have ended', async (t) => {
    const cluster = await ownCluster(t);
    const { id: killed, pid } = await cluster.ask();
    process.kill(pid, 'SIGKILL');
    await cluster.seen('exit');
    cluster.command('fork 3');
    await cluster.served(5);
    await whileBlocked(cluster, async () => {
      const left = [1, 2, 3, 4, 5].filter((id) => id !== killed);
      await cluster.answersOf(left, 160);
    });
    // seats are taken again: the fifth process has the number of the first that ended
    const taken = [...cluster.app.stderr.matchAll(/worker \d+ serves \S+ from socket (\d+)/g)].map(([, n]) =>
      Number(n),
    );
    assert.deepEqual(taken.toSorted((a, b) => a - b).filter((n) => n < 3).length, 3);
    assert.equal(Math.max(...taken), 4);
  });

  test('those that come while others have the CPUs are pinned when these have ended', async (t) => {
    const cluster = await ownCluster(t, { env: { FASTSOCKET_PIN: ownCpus.slice(0, 2).join() } });
    if (!/; pinned/.test(cluster.app.stderr)) return t.skip('workers are not pinned here');
    const before = await pinned(cluster, [1, 2]);
    cluster.command('fork 2');
    await cluster.served(4);
    const all = await until(async () => {
      const replies = await cluster.answers(64);
      return numbers(replies).length === 4 && replies;
    }, 'answers of all four');
    assert.deepEqual(cores(all, [3, 4]), [undefined, undefined]);
    cluster.command('disconnect 1');
    cluster.command('disconnect 2');
    await cluster.seen('exit', 2);
    const after = await pinned(cluster, [3, 4]);
    assert.deepEqual(after.toSorted(), before.toSorted());
  });

  test('where there are too many for that, those that are left are pinned when the others have ended', async (t) => {
    const cluster = await ownCluster(t, { workers: 4, env: { FASTSOCKET_PIN: '0,1' } });
    if (!/; not pinned: 4 workers on 2 CPUs/.test(cluster.app.stderr))
      return t.skip('other CPUs, or no pinning');
    cluster.command('disconnect 1');
    cluster.command('disconnect 2');
    await cluster.seen('exit', 2);
    assert.deepEqual((await pinned(cluster, [3, 4])).toSorted(), [0, 1]);
  });

  test('one that does not listen is none too many', async (t) => {
    const cluster = await ownCluster(t, { env: { IDLE: '1', FASTSOCKET_PIN: '0,1' } });
    if (!/; not pinned: 3 workers on 2 CPUs/.test(cluster.app.stderr))
      return t.skip('other CPUs, or no pinning');
    assert.deepEqual((await pinned(cluster, [1, 2])).toSorted(), [0, 1]);
  });

  test('a worker that closes and listens again', async (t) => {
    const cluster = await ownCluster(t);
    await cluster.ask('/reopen');
    await cluster.served(3);
    await whileBlocked(cluster, async () => {
      await cluster.answersOf([1, 2], 96);
    });
  });

  test('a worker that closes its server leaves the rest to the other', async (t) => {
    const cluster = await ownCluster(t);
    const { id } = await cluster.ask('/close');
    await cluster.seen('message');
    await cluster.app.said(/evenly over 1 worker(.|\n)*evenly over 1 worker/);
    assert.deepEqual(numbers(await cluster.answers(48)), [3 - id]);
    assert.equal(cluster.app.workers().length, 2);
  });

  test('a worker that its server is not to keep alive ends, as under plain cluster', async (t) => {
    const cluster = await ownCluster(t);
    const { id } = await cluster.ask('/unref');
    const [exit] = await cluster.seen('exit');
    assert.deepEqual([exit?.id, exit?.code, exit?.signal], [id, 0, null]);
    assert.deepEqual(numbers(await cluster.answers(48)), [3 - id]);
  });

  test('the file and the arguments of setupPrimary', async (t) => {
    const cluster = await ownCluster(t, { env: { EXEC: fixture('own-cluster.js') } });
    await whileBlocked(cluster, async () => {
      const replies = await cluster.answersOf([1, 2], 48);
      for (const { args } of replies) assert.deepEqual(args, ['from', 'the primary']);
    });
  });
});

describe("what the app's own workers cannot serve by themselves goes through the primary", {
  concurrency: true,
}, () => {
  test('while one of them has no hook', async (t) => {
    const cluster = await ownCluster(t);
    cluster.command('plain');
    const [, , plain] = await cluster.seen('listening', 3);
    await cluster.app.said(/served by round robin: worker 3 has no socket of its own/);
    await until(async () => (await cluster.ask()).id === plain?.id, 'an answer of the third');
    assert.deepEqual(numbers(await cluster.answers(96)), [1, 2, 3]);
    cluster.command('disconnect 3');
    await cluster.seen('exit');
    await whileBlocked(cluster, async () => {
      await cluster.answersOf([1, 2], 48);
    });
  });

  test('while there are more than sockets', async (t) => {
    const cluster = await ownCluster(t, { served: 0, workers: 1, env: { FASTSOCKET_WORKERS: '2' } });
    const sockets = Number((await cluster.app.said(/own workers, (\d+) sockets/))[1]) - 1;
    cluster.command(`fork ${sockets}`);
    await cluster.seen('listening', sockets + 1);
    await cluster.app.said(new RegExp(`no socket of its own \\(there are ${sockets} sockets for workers\\)`));
    const all = Array.from({ length: sockets + 1 }, (_, i) => i + 1);
    await until(
      async () => numbers(await cluster.answers(8 * all.length)).length === all.length,
      'all of them',
    );
    cluster.command('disconnect 1');
    await cluster.seen('exit');
    await cluster.served(sockets + 1);
    await whileBlocked(cluster, async () => {
      await cluster.answersOf(all.slice(1), 8 * all.length * 4);
    });
  });

  test('where the kernel takes no steering program', async (t) => {
    const cluster = await ownCluster(t, {
      served: 0,
      // SO_ATTACH_REUSEPORT_CBPF
      prefix: refusing('setsockopt:2=51:EPERM'),
    });
    await cluster.app.said(/left to round robin: no steering program \(errno 1\)/);
    assert.deepEqual(numbers(await cluster.answers(48)), [1, 2]);
  });

  test('without the addon', async (t) => {
    const cluster = await ownCluster(t, { served: 0, execArgv: ['--no-addons'], env: { ADDON: '' } });
    assert.deepEqual(numbers(await cluster.answers(48)), [1, 2]);
  });

  test('connections that a worker has no room for', async (t) => {
    const major = Number.parseInt(process.versions.node, 10);
    if (major < 22) return t.skip('Node 20 takes 0 for no limit');
    const cluster = await ownCluster(t, { kind: 'full' });
    assert.deepEqual(numbers(await cluster.answers(48)), [2]);
    assert.deepEqual(cluster.of('message'), [], "no 'drop' event, as in plain cluster");
  });

  test("with cluster's other policy", async (t) => {
    const cluster = await ownCluster(t, { served: 0, env: { NODE_CLUSTER_SCHED_POLICY: 'none' } });
    await cluster.ask();
    assert.doesNotMatch(cluster.app.stderr, /is a listener group|socket of its own/);
  });

  test('FASTSOCKET_WORKERS=1', async (t) => {
    const cluster = await ownCluster(t, { served: 0, env: { FASTSOCKET_WORKERS: '1' } });
    await cluster.app.said(/left to round robin: one worker is asked for/);
    const replies = await cluster.answers(16);
    assert.deepEqual(numbers(replies), [1, 2]);
  });
});
