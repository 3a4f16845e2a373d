// SPDX-License-Identifier: Apache-2.0
// Two that come at once: the second one stays in the queue, where a sibling could take it, until the first one has spoken.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { allAnswered, askTogether, newCount } from './support/asking';
import { start } from './support/balance';
import { keptBy, stats } from './support/scene';
import { whyNoSockets } from './support/tcp-table';

const skip = whyNoSockets() ?? false;
const PAIRS = 500;

/** How often somebody was left in the queue; one of the pairs has to be one worker's, and its client as slow as clients are. */
async function putOff(t: TestContext, balance: string): Promise<number> {
  const { port, workers } = await start(t, { env: { FASTSOCKET_BALANCE: balance } });
  const own = await Promise.all(workers.map((pid) => keptBy(t, port, pid)));
  const count = newCount();
  let sum = 0;
  for (let i = 0; i < PAIRS && sum === 0; i++) {
    await askTogether(port, 2, count);
    if (i % 20 === 19) for (const socket of own) sum += (await stats(socket)).putOff;
  }
  allAnswered(count);
  return sum;
}

test('two connections at once, many times over: the second one waits in the queue now and then', {
  skip,
}, async (t) => {
  assert.ok((await putOff(t, 'on')) > 0);
});

test('nobody could take it from there: it is accepted', { skip }, async (t) => {
  assert.equal(await putOff(t, 'off'), 0);
});
