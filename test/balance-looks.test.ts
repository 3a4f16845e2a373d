// SPDX-License-Identifier: Apache-2.0
// When the thread looks while nobody is blocked.
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './support/app';
import { allAnswered, askInTurn, newCount } from './support/asking';
import { figures, start } from './support/balance';

/** Less than the time between two looks that are made there while nothing comes (4 x LOOK_US in lib/group/balancer.ts). */
const LITTLE_MS = 4;

test('where little comes each arrival wakes the thread', async (t) => {
  const tree = await start(t);
  const count = newCount();
  const { woken } = await figures(tree);
  await until(
    async () => {
      for (let i = 0; i < 50; i++) {
        await askInTurn(tree.port, 1, count);
        await sleep(LITTLE_MS);
      }
      const now = await figures(tree);
      return now.woken - woken > 50;
    },
    () => `it was woken by some of ${count.made} connections`,
  );
  allAnswered(count);
});
