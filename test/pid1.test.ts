// SPDX-License-Identifier: Apache-2.0
// As process 1 of a PID namespace, like the only program of a container: the kernel does not end it by a default action.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf, request, until } from './support/app';
import { exited, noneLeft, portFree } from './support/ending';
import { whyNotFirst as skip, UNSHARE } from './support/pid-namespace';
import { noted, RELAYED, startTree, type Tree, WAYS } from './support/signals';

const SETTLED_MS = 250;

/** Like startTree, seen from outside: `origin` is the host's number of the namespace's process 1, noted as 1. */
async function startFirst(
  t: TestContext,
  env: Record<string, string>,
  hook = true,
): Promise<Tree & { inside: number[] }> {
  const tree = await startTree(t, env, { prefix: UNSHARE, hook, detached: false, waitFor: 'answer' });
  const origin = await until(() => childrenOf(tree.app.pid)[0], 'process 1');
  const count = hook ? 2 : 0;
  const workers = await until(() => {
    const pids = childrenOf(origin);
    return pids.length === count ? pids : undefined;
  }, `${count} workers`);
  await until(() => tree.ledger.count('worker') === count, 'all have started');
  const inside = tree.ledger.entries.filter(({ event }) => event === 'worker').map(({ pid }) => pid);
  return { ...tree, origin, workers, all: [origin, ...workers], inside: [1, ...inside] };
}

describe('as PID 1', { skip }, () => {
  test('handlers run exactly once per process', async (t) => {
    const tree = await startFirst(t, { HANDLER: 'note' });
    const { ledger, inside } = tree;
    let sent = 0;
    for (const [way, send] of Object.entries(WAYS)) {
      if (way === 'the process group') continue;
      sent++;
      for (const signal of RELAYED) {
        send(tree, signal);
        await until(
          () => inside.every((pid) => ledger.count(noted(signal), pid) >= sent),
          `${signal} to ${way}, noted by all`,
        );
      }
      await sleep(SETTLED_MS);
      for (const signal of RELAYED) {
        for (const pid of inside)
          assert.equal(ledger.count(noted(signal), pid), sent, `${signal} to ${way}, process ${pid}`);
      }
    }
  });

  test('without a handler it survives like plain Node, and so do its workers', async (t) => {
    for (const hook of [false, true]) {
      const tree = await startFirst(t, {}, hook);
      for (const [way, send] of Object.entries(WAYS)) {
        if (way === 'the process group' || (!hook && way !== 'the origin')) continue;
        for (const signal of RELAYED) send(tree, signal);
        await sleep(SETTLED_MS);
        assert.match(
          await request(tree.app.port),
          /hello/,
          `${hook ? 'the tree' : 'plain Node'} after ${way}`,
        );
      }
      assert.deepEqual(childrenOf(tree.origin), tree.workers, 'the same workers');
      await tree.app.stop();
    }
  });

  test('a handler that ends the origin lets the workers finish', async (t) => {
    const tree = await startFirst(t, { HANDLER: 'late' });
    process.kill(tree.origin, 'SIGTERM');
    assert.deepEqual(await exited(tree.app), { code: 5, signal: null });
    assert.ok(await portFree(tree.app.port));
    await noneLeft(tree.workers);
    for (const pid of tree.inside.slice(1))
      assert.deepEqual(tree.ledger.of(pid), ['worker', noted('SIGTERM'), 'done', 'exit 0']);
  });

  test('signal-exit: as plain Node', async (t) => {
    const outcome: string[] = [];
    for (const hook of [false, true]) {
      const tree = await startFirst(t, { HANDLER: 'signal-exit' }, hook);
      process.kill(tree.origin, 'SIGTERM');
      await until(
        () => tree.inside.every((pid) => tree.ledger.count('left null SIGTERM', pid) === 1),
        'all handlers',
      );
      await sleep(SETTLED_MS);
      const alive = tree.app.child.exitCode === null && tree.app.child.signalCode === null;
      outcome.push(alive ? `lives: ${(await request(tree.app.port)).includes('hello')}` : 'ended');
      await tree.app.stop();
    }
    assert.equal(outcome[1], outcome[0]);
  });
});
