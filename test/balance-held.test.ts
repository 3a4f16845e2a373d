// SPDX-License-Identifier: Apache-2.0
// Who computes for long is not blocked before something waits for it: the thread is woken by that, and does not look for it.
import { test } from 'node:test';
import { request } from './support/app';
import { allAnswered, askUntil } from './support/asking';
import { HOST } from './support/balance';
import { calm, STEAL } from './support/scene';

/** A long turn, and not so long that much of what comes meets somebody who is blocked already. */
const TURN_MS = 20;

test('what comes to a worker in a long turn wakes the thread', async (t) => {
  const { port, points } = await calm(t, ['held=note@1'], STEAL);
  points.arm();
  const woken = points.reached('held');
  let going = true;
  const turns = async () => {
    while (going) await request(port, `/block?${TURN_MS}`, HOST);
  };
  // so much that no arrival has a look of its own: see Judge::isSparse()
  const asks = Array.from({ length: 2 }, () => askUntil(port, woken));
  const ended = woken.finally(() => {
    going = false;
  });
  const [counts] = await Promise.all([Promise.all(asks), turns(), ended]);
  for (const count of counts) allAnswered(count);
});
