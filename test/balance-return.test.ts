// SPDX-License-Identifier: Apache-2.0
// A worker that computes for a while, is excluded meanwhile, and comes back: by itself, whether anything comes or not,
// and every time.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { allAnswered, askUntil } from './support/asking';
import { figures, start, type Tree } from './support/balance';
import { excluded, included, isExcluded, keptBy, shares } from './support/scene';

const BLOCK_MS = 700;

interface Busy extends Tree {
  victim: number;
  /** One of its connections. */
  own: Socket;
}

async function busyWorker(t: TestContext): Promise<Busy> {
  // of two, one that is excluded for good is soon joined by the other, and where all are nobody is steered around
  const tree = await start(t, {}, 3);
  const [victim] = tree.workers as [number];
  const own = await keptBy(t, tree.port, victim);
  await included(tree);
  return { ...tree, victim, own };
}

/** It computes, and is excluded. */
async function block({ app, port, own }: Busy): Promise<void> {
  own.write(`GET /block?${BLOCK_MS} HTTP/1.1\r\nHost: x\r\n\r\n`);
  // what is steered to it before is a sibling's, too
  allAnswered(await askUntil(port, excluded({ app })));
}

test('nothing comes when it comes back: it has its share of what comes next', async (t) => {
  const busy = await busyWorker(t);
  const { swaps } = await figures(busy);
  await block(busy);
  await until(() => !isExcluded(busy), 'its return');
  // before the first connection: one program without it, one with it
  assert.ok((await figures(busy)).swaps >= swaps + 2);
  await shares(busy.port, busy.victim);
});

test('others come all the time, and it comes back again and again', async (t) => {
  const busy = await busyWorker(t);
  for (let round = 0; round < 3; round++) {
    if (round > 0) busy.own = await keptBy(t, busy.port, busy.victim);
    await block(busy);
    allAnswered(
      await askUntil(
        busy.port,
        until(() => !isExcluded(busy), 'its return'),
      ),
    );
    await shares(busy.port, busy.victim);
  }
});
