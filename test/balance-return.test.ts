// SPDX-License-Identifier: Apache-2.0
// A worker that computes for a while, is excluded meanwhile, and comes back: by itself, whether anything comes or not,
// and every time.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { allAnswered, askUntil } from './support/asking';
import { figures, start, type Tree } from './support/balance';
import { included, isExcluded, keptBy, shares } from './support/scene';

const BLOCK_MS = 700;

interface Busy extends Tree {
  victim: number;
}

async function busyWorker(t: TestContext): Promise<Busy> {
  // of two, one that is excluded for good is soon joined by the other, and where all are nobody is steered around
  const tree = await start(t, {}, 3);
  const [victim] = tree.workers as [number];
  await included(tree);
  return { ...tree, victim };
}

/** It computes, and is excluded: on a busy machine it may be through before that. */
async function block(t: TestContext, busy: Busy): Promise<void> {
  const { port, victim } = busy;
  await until(async () => {
    const own = await keptBy(t, port, victim);
    own.write(`GET /block?${BLOCK_MS} HTTP/1.1\r\nHost: x\r\n\r\n`);
    // what is steered to it before is a sibling's, too
    allAnswered(
      await askUntil(
        port,
        until(() => isExcluded(busy) || own.destroyed, 'either'),
      ),
    );
    return isExcluded(busy);
  }, 'its exclusion');
}

test('nothing comes when it comes back: it has its share of what comes next', async (t) => {
  const busy = await busyWorker(t);
  const { swaps } = await figures(busy);
  await block(t, busy);
  await until(() => !isExcluded(busy), 'its return');
  // before the first connection: one program without it, one with it
  assert.ok((await figures(busy)).swaps >= swaps + 2);
  await shares(busy.port, busy.victim);
});

test('others come all the time, and it comes back again and again', async (t) => {
  const busy = await busyWorker(t);
  for (let round = 0; round < 3; round++) {
    await block(t, busy);
    allAnswered(
      await askUntil(
        busy.port,
        until(() => !isExcluded(busy), 'its return'),
      ),
    );
    await shares(busy.port, busy.victim);
  }
});
