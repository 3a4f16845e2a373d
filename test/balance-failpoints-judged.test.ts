// SPDX-License-Identifier: Apache-2.0
// What becomes of a verdict that is no longer true when it is acted on: between the judge's word and the offer the
// blocked worker or its helper is stopped, killed or comes back, or closes its server.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { allAnswered, askInTurn, type Count, newCount } from './support/asking';
import {
  begin,
  calm,
  connectedTogether,
  goOn,
  keptBy,
  kill,
  type Scene,
  STEAL,
  shares,
  stop,
  successor,
  waits,
} from './support/scene';
import { queueOf, whyNoSockets } from './support/tcp-table';

const skip = whyNoSockets() ?? false;

interface Judged extends Scene {
  asked: Promise<Count>;
}

/** The verdict is there, one connection waits for the victim, and nobody else has any. */
async function judged(tree: Scene): Promise<Judged> {
  // a busy machine may have had it taken for blocked before, and that stands until it accepts
  await shares(tree.port, tree.victim);
  begin(tree);
  const asked = askInTurn(tree.port, 60, newCount());
  await tree.points.reached('judged');
  // on a busy machine it may be the other's: then all that is asked is answered, up to the first for the victim
  await waits(tree);
  return { ...tree, asked };
}

const HELD = ['judged=hold@1', 'offered=note@1'];

const begun = async (t: TestContext): Promise<Judged> => judged(await calm(t, HELD, STEAL));

test('judged: the victim comes back, and has served its queue', { skip }, async (t) => {
  const { asked, port, points, victim } = await begun(t);
  goOn(victim);
  await until(async () => (await queueOf(victim, port)) === 0, 'its queue is empty');
  points.go('judged');
  allAnswered(await asked);
  await shares(port, victim);
});

test('judged: the victim is killed', { skip }, async (t) => {
  const tree = await begun(t);
  await kill(tree.victim);
  tree.points.go('judged');
  allAnswered(await tree.asked);
  await shares(tree.port, await successor(tree, tree.workers));
});

test('judged: the helper is stopped, and the victim comes back after the offer', { skip }, async (t) => {
  const { asked, port, points, victim, thief } = await begun(t);
  stop(thief);
  points.go('judged');
  await points.reached('offered');
  goOn(victim);
  goOn(thief);
  allAnswered(await asked);
  await shares(port, thief);
});

test('judged: the helper is killed, and its successor helps', { skip }, async (t) => {
  const tree = await begun(t);
  await kill(tree.thief);
  tree.points.go('judged');
  const count = await tree.asked;
  allAnswered(count);
  const next = await successor(tree, tree.workers);
  assert.ok((count.by.get(next) ?? 0) > 0 && !count.by.has(tree.victim), `${[...count.by]}`);
});

for (const who of ['victim', 'thief'] as const)
  test(`judged: the ${who} closes its server`, { skip }, async (t) => {
    const before = await calm(t, HELD, STEAL);
    const own = await keptBy(t, before.port, before[who]);
    const { asked, points, victim } = await judged(before);
    const closed = once(own, 'close');
    own.write('GET /close HTTP/1.1\r\nHost: x\r\n\r\n');
    if (who === 'victim') goOn(victim);
    await closed;
    points.go('judged');
    await points.reached('offered');
    goOn(victim);
    allAnswered(await asked);
  });

test('judged: the origin closes', { skip }, async (t) => {
  const tree = await calm(t, [...HELD, 'forget=note@1'], { ...STEAL, CLOSE_ORIGIN: '1' });
  const { app, port, points, victim } = tree;
  await shares(port, victim);
  begin(tree);
  const { asked } = await connectedTogether(port, 40);
  await points.reached('judged');
  process.kill(app.pid, 'SIGUSR2');
  await points.reached('forget');
  points.go('judged');
  goOn(victim);
  allAnswered(await asked);
  assert.deepEqual(await app.ended, { code: 0, signal: null });
});
