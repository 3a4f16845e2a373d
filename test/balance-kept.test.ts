// SPDX-License-Identifier: Apache-2.0
// A worker that has helped another one keeps that one's queue, and helps again without being asked.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { allAnswered, askInTurn, newCount } from './support/asking';
import { start, type Tree } from './support/balance';
import { onCpus, ownCpus } from './support/masks';
import { calm, connectedTogether, goOn, keptBy, STEAL, shares, stats } from './support/scene';
import { listenersOf, standStill, whyNoSockets } from './support/tcp-table';

const skip = whyNoSockets() ?? (ownCpus.length < 2 && 'needs two CPUs');

/** Two workers, the first of which is stopped; the other one has served what came to it. Returns that one. */
async function helped(t: TestContext, { port, workers }: Tree): Promise<number> {
  const [victim, helper] = workers as [number, number];
  t.after(() => goOn(victim));
  await standStill(victim);
  const count = await askInTurn(port, 40, newCount());
  allAnswered(count);
  assert.deepEqual([...count.by.keys()], [helper]);
  return helper;
}

for (const [cpus, what, listeners] of [
  [2, 'each has a CPU: the helper keeps the queue, until it closes its own server', 2],
  [1, 'they share one, so that a long turn may be a wait for it: the helper keeps nothing', 1],
] as const)
  test(`two workers, ${cpus} of the CPUs: ${what}`, { skip }, async (t) => {
    const tree = await start(t, { env: STEAL, prefix: onCpus(cpus) });
    const { port } = tree;
    const helper = await helped(t, tree);
    await until(async () => (await listenersOf(helper, port)) === listeners, `${listeners} in the helper`);
    const own = await keptBy(t, port, helper);
    own.write('GET /close HTTP/1.1\r\nHost: x\r\n\r\n');
    // the origin has handed down one, on which it may listen again
    await until(async () => (await listenersOf(helper, port)) === 1, 'one in the helper');
  });

test("nobody asks, and what waits at a worker that computes is served at the end of another one's turns", {
  skip,
}, async (t) => {
  const tree = await calm(t, ['judged=hold@1', 'offered=note@1'], STEAL, 2, true);
  const { port, points, victim, thief } = tree;
  await helped(t, tree);
  await until(async () => (await listenersOf(thief, port)) === 2, "the victim's, kept by the other one");
  goOn(victim);
  await shares(port, victim);
  const [busy, own] = await Promise.all([keptBy(t, port, victim), keptBy(t, port, thief)]);
  const before = await stats(own);
  assert.equal(before.pid, thief);
  // from here on the thread stands still before it asks anybody
  points.arm();
  try {
    busy.write('GET /block?60000 HTTP/1.1\r\nHost: x\r\n\r\n');
    const { asked, count } = await connectedTogether(port, 40);
    await until(
      async () => (await stats(own)).pid === thief && count.answered === 40,
      () => `${count.answered} of 40 answers`,
    );
    allAnswered(await asked);
    assert.deepEqual(points.pids('offered'), []);
    const { stolen } = await stats(own);
    assert.ok(stolen > before.stolen, `${stolen} after ${before.stolen}`);
  } finally {
    points.go('judged');
  }
});
