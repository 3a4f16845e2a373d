// SPDX-License-Identifier: Apache-2.0
// A group that closes while the thread goes on offering and excluding: what it waits for is the lock, and what the
// thread does before it gets that lock is done to sockets that are still open.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './support/app';
import { allAnswered, askUntil } from './support/asking';
import { HOST } from './support/balance';
import {
  begin,
  calm,
  connectedTogether,
  goOn,
  included,
  keptBy,
  kill,
  looksAround,
  type Scene,
  STEAL,
  shares,
  stop,
  successor,
} from './support/scene';
import { queueOf, whyNoSockets } from './support/tcp-table';

const CLOSES = { CLOSE_ORIGIN: '1' };

/** close() in the origin has begun, and the thread does not know yet. */
async function closes({ app, points }: Scene): Promise<void> {
  process.kill(app.pid, 'SIGUSR2');
  await points.reached('forget');
}

const MEANWHILE: readonly [string, (scene: Scene) => Promise<void> | void][] = [
  ['nothing happens', () => {}],
  ['the victim comes back', ({ victim }) => goOn(victim)],
  ['the victim is killed', ({ victim }) => kill(victim)],
  ['the helper is stopped', ({ thief }) => stop(thief)],
  ['the helper is killed', ({ thief }) => kill(thief)],
  ['both are killed', async ({ victim, thief }) => void (await Promise.all([kill(victim), kill(thief)]))],
];

for (const [what, happens] of MEANWHILE)
  test(`forget: ${what} while the origin closes, and the thread offers and excludes`, async (t) => {
    const tree = await calm(t, ['forget=hold@1', 'offered=note@1', 'exclude=note@1'], CLOSES);
    const { app, port, points, victim, thief } = tree;
    await included(tree);
    begin(tree);
    await closes(tree);
    // one or more wait for the victim: the thread has them served, whatever the origin is about to do
    const early = await askUntil(port, points.reached('exclude'));
    allAnswered(early);
    assert.deepEqual([...early.by.keys()], [thief]);
    await points.reached('offered');
    await happens(tree);
    const late = await connectedTogether(port, 20);
    points.go('forget');
    goOn(thief);
    goOn(victim);
    allAnswered(await late.asked);
    assert.deepEqual(await app.ended, { code: 0, signal: null });
  });

test('forget: the origin closes while the thread has the lock, and excludes', async (t) => {
  // without the shares: the origin, which asks for the figures of these now and then, would wait for that lock first
  const tree = await calm(t, ['exclude=hold@1', 'forget=note@1'], {
    ...CLOSES,
    FASTSOCKET_BALANCE: 'steal,swap',
  });
  await included(tree);
  begin(tree);
  const { app, port, points, victim } = tree;
  // what waits for the victim is nobody else's while the thread is held
  allAnswered(
    await askUntil(
      port,
      points.reached('exclude').then(() => goOn(victim)),
    ),
  );
  const { asked } = await connectedTogether(port, 20);
  await closes(tree);
  points.go('exclude');
  allAnswered(await asked);
  assert.deepEqual(await app.ended, { code: 0, signal: null });
});

test('forget: the helper closes its server while the origin does', async (t) => {
  const tree = await calm(t, ['forget=hold@1'], { ...STEAL, ...CLOSES });
  const { port, points, victim, thief } = tree;
  const own = await keptBy(t, port, thief);
  begin(tree);
  await closes(tree);
  const { asked } = await connectedTogether(port, 20);
  own.write('GET /close HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => own.destroyed, 'its answer');
  points.go('forget');
  goOn(victim);
  allAnswered(await asked);
});

for (const who of ['victim', 'thief'] as const)
  test(`forget: the ${who} is killed while the origin closes and listens again`, async (t) => {
    const tree = await calm(t, ['forget=hold@1']);
    const { app, port, points } = tree;
    begin(tree);
    process.kill(app.pid, 'SIGHUP');
    await points.reached('forget');
    await kill(tree[who]);
    points.go('forget');
    goOn(tree.victim);
    const next = await successor(tree, tree.workers);
    for (const pid of [next, who === 'victim' ? tree.thief : tree.victim]) await shares(port, pid);
  });

/** Nobody has a listening socket there any more. */
async function isRefused(port: number): Promise<boolean> {
  const socket = connect(port, HOST);
  const answer = await Promise.race([
    once(socket, 'connect').then(
      () => 'connected',
      (error: NodeJS.ErrnoException) => error.code,
    ),
    // where somebody has, no SYN is answered
    sleep(200, 'silence', { ref: false }),
  ]);
  socket.destroy();
  return answer === 'ECONNREFUSED';
}

test("a helper with a victim's queue in hand lets go of it when the group closes, in that same turn", {
  skip: whyNoSockets() ?? false,
}, async (t) => {
  const tree = await calm(t, ['judged=hold@1', 'stolen=hold@1', 'forget=note@1'], {
    ...STEAL,
    ...CLOSES,
    BLOCK_ENDED: '60000',
  });
  const { app, port, points, victim, thief } = tree;
  // its end is what the app hears of the close, and takes a minute over
  const own = await keptBy(t, port, thief);
  const ends = once(own, 'end');
  await shares(port, victim);
  begin(tree);
  // on a busy machine it may have been asked before: it would be held with the first of those that come now
  await looksAround(own);
  const { count } = await connectedTogether(port, 60);
  await points.reached('judged');
  // who had a queue of its own would not keep the other's
  await until(async () => count.answered + (await queueOf(victim, port)) === 60, "the helper's own");
  points.go('judged');
  assert.equal(await points.reached('stolen'), thief);
  await closes(tree);
  // the origin's word is there when it goes on, and the queue is not empty before it has heard it
  await until(() => app.stdout.includes('closing'), 'the word to the workers');
  points.go('stolen');
  await ends;
  await kill(victim);
  await until(() => isRefused(port), 'the end of all its sockets', 5_000);
});
