// SPDX-License-Identifier: Apache-2.0
// Interleavings of stealing and steering with stops, kills, closing servers and respawns, each brought about at a named
// point: every connection is answered once, but for those that a killed worker had accepted.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { lives, until } from './support/app';
import { allAnswered, askInTurn, askTogether, askUntil, newCount } from './support/asking';
import { figures } from './support/balance';
import {
  begin,
  calm,
  comesBack,
  excluded,
  goOn,
  included,
  isStopped,
  keepAlive,
  keptBy,
  STEAL,
  scene,
  shares,
  stop,
  successor,
  waits,
} from './support/scene';
import { whyNoSockets } from './support/tcp-table';

const EMFILE = 24;
const EAGAIN = 11;
const ENOMEM = 12;

for (const point of ['offer-taken', 'steal']) {
  test(`${point}: the thief is stopped, and the victim comes back`, async (t) => {
    const { port, points, victim, thief } = await scene(t, [`${point}=stop@1`], STEAL);
    const asked = askTogether(port, 40, newCount());
    assert.equal(await points.reached(point), thief);
    goOn(victim);
    const late = await askTogether(port, 20, newCount());
    assert.ok(isStopped(thief) && late.by.get(victim) === 20, `${[...late.by]}`);
    goOn(thief);
    allAnswered(await asked);
    allAnswered(late);
    await shares(port, thief);
  });

  test(`${point}: the thief is killed, and what was offered to it is another's`, async (t) => {
    const tree = await scene(t, [`${point}=kill@2`], STEAL);
    const { port, points, victim, thief } = tree;
    const count = await askInTurn(port, 30, newCount());
    assert.equal(points.pids(point)[1], thief);
    // it may have accepted the one before, and be offered the queue again before it has read that
    allAnswered(count, Math.min(count.reset, 1));
    const next = await successor(tree, tree.workers);
    assert.ok((count.by.get(next) ?? 0) > 0 && !count.by.has(victim), `${[...count.by]}`);
    goOn(victim);
    await shares(port, victim);
  });
}

test('stolen: the thief is killed, and this one connection is lost', async (t) => {
  const { port, points } = await scene(t, ['stolen=kill@3'], STEAL);
  const count = await askInTurn(port, 40, newCount());
  assert.ok(points.pids('stolen').length > 3);
  allAnswered(count, 1);
});

test('stolen: the thief is stopped, and this one connection waits', async (t) => {
  const { port, points, victim, thief } = await scene(t, ['stolen=stop@1'], STEAL);
  const asked = askInTurn(port, 20, newCount());
  assert.equal(await points.reached('stolen'), thief);
  goOn(victim);
  allAnswered(await askTogether(port, 20, newCount()));
  goOn(thief);
  allAnswered(await asked);
});

test('steal: no descriptor is left; it is asked again later', async (t) => {
  const tree = await calm(t, [`steal=${EMFILE}@2`], STEAL);
  const declined = async () => (await figures(tree)).seats.reduce((sum, seat) => sum + seat.declined, 0);
  const before = await declined();
  begin(tree);
  const count = await askInTurn(tree.port, 30, newCount());
  allAnswered(count);
  assert.deepEqual([...count.by.keys()], [tree.thief]);
  assert.equal(await declined(), before + 1);
});

test('offer: the victim comes back before it is sent', async (t) => {
  const { port, points, victim } = await scene(t, ['offer=hold@1'], STEAL);
  const asked = askTogether(port, 20, newCount());
  await points.reached('offer');
  goOn(victim);
  allAnswered(await asked);
  points.go('offer');
  allAnswered(await askTogether(port, 20, newCount()));
});

test('offer: the helper is killed before it is sent', { skip: whyNoSockets() ?? false }, async (t) => {
  const tree = await scene(t, ['offer=hold@1'], STEAL);
  const { port, points, thief } = tree;
  const count = newCount();
  const asked = askInTurn(port, 20, count);
  await points.reached('offer');
  await waits(tree);
  process.kill(thief, 'SIGKILL');
  await until(() => !lives(thief), 'its end');
  points.go('offer');
  allAnswered(await asked);
});

test('offer: the helper is killed with it unread, and another process has its seat', {
  skip: whyNoSockets() ?? false,
}, async (t) => {
  const tree = await scene(t, ['offer=hold@1', 'offered=note@1'], STEAL);
  const { port, points, victim, thief } = tree;
  const count = newCount();
  const asked = askInTurn(port, 20, count);
  await points.reached('offer');
  await waits(tree);
  stop(thief);
  points.go('offer');
  await points.reached('offered');
  process.kill(thief, 'SIGKILL');
  const next = await successor(tree, tree.workers);
  allAnswered(await asked);
  assert.ok((count.by.get(next) ?? 0) > 0 && !count.by.has(victim), `${[...count.by]}`);
});

for (const inOneTurn of [true, false]) {
  const when = inOneTurn ? 'in the turn that brings it' : 'before it is sent';
  test(`offer: the helper closes its server ${when}`, async (t) => {
    const before = await calm(t, ['offer=hold@1', 'offered=note@1', 'steal=note@1'], STEAL);
    const { port, points, victim, thief } = before;
    const own = await keptBy(t, port, thief);
    begin(before);
    const asked = askTogether(port, 20, newCount());
    await points.reached('offer');
    if (inOneTurn) stop(thief);
    if (inOneTurn) await until(() => isStopped(thief), 'its stop');
    const closed = once(own, 'close');
    own.write('GET /close HTTP/1.1\r\nHost: x\r\n\r\n');
    if (!inOneTurn) await closed;
    // of an offer that was made before it all began
    const earlier = points.pids('steal');
    points.go('offer');
    await points.reached('offered');
    goOn(thief);
    await closed;
    await sleep(100);
    assert.deepEqual(points.pids('steal'), earlier);
    goOn(victim);
    allAnswered(await asked);
  });
}

for (const unread of [true, false]) {
  const when = unread ? 'while it is unread' : 'before it is sent';
  test(`offer: the origin closes ${when}`, async (t) => {
    const tree = await scene(t, ['offer=hold@1'], { ...STEAL, CLOSE_ORIGIN: '1' });
    const { app, port, points, victim, thief } = tree;
    const asked = askTogether(port, 20, newCount());
    await points.reached('offer');
    if (unread) stop(thief);
    if (unread) points.go('offer');
    process.kill(app.pid, 'SIGUSR2');
    await sleep(100);
    points.go('offer');
    goOn(thief);
    goOn(victim);
    allAnswered(await asked);
    assert.deepEqual(await app.ended, { code: 0, signal: null });
  });
}

test('exclude: the kernel refuses the program, and is asked again', async (t) => {
  const tree = await calm(t, [`exclude=${ENOMEM}@1`]);
  const { port, points, victim } = tree;
  await included(tree);
  begin(tree);
  allAnswered(await askUntil(port, points.reached('exclude', 2)));
  await excluded(tree);
  goOn(victim);
  await shares(port, victim);
});

for (const end of ['comes back', 'is killed'])
  test(`exclude: the victim ${end} meanwhile`, async (t) => {
    const tree = await calm(t, ['exclude=hold@1']);
    const { port, points, victim } = tree;
    await included(tree);
    begin(tree);
    const held = points.reached('exclude').then(async () => {
      if (end === 'is killed') process.kill(victim, 'SIGKILL');
      goOn(victim);
      await sleep(50);
      points.go('exclude');
    });
    allAnswered(await askUntil(port, held));
    await shares(port, end === 'is killed' ? await successor(tree, tree.workers) : victim);
  });

for (const [action, what] of [
  [`${EAGAIN}`, 'nobody is told that the victim is back'],
  ['kill', 'the victim is killed as it comes back'],
])
  test(`answer: ${what}`, async (t) => {
    const tree = await calm(t, [`answer=${action}@1`]);
    const { port, victim } = tree;
    await included(tree);
    await comesBack(tree, 'answer');
    await shares(port, action === 'kill' ? await successor(tree, tree.workers) : victim);
  });

test('joined: a successor has its seat and is stopped: others serve its queue', async (t) => {
  const tree = await calm(t, ['joined=stop@1']);
  const { port, points, victim, thief } = tree;
  points.arm();
  process.kill(victim, 'SIGKILL');
  const next = await points.reached('joined');
  const count = await askInTurn(port, 40, newCount());
  allAnswered(count);
  assert.deepEqual([...count.by.keys()], [thief]);
  goOn(next);
  await shares(port, next);
});

test('vacate: the origin does not know yet that a helper has ended, and another one helps', async (t) => {
  const tree = await calm(t, ['offer=hold@1', 'vacate=hold@1'], STEAL, 3);
  const { port, points } = tree;
  const [, dead, alive] = tree.workers as [number, number, number];
  // whoever has fewer connections is asked first
  for (const [pid, socket] of await keepAlive(t, port, 30)) if (pid !== alive) socket.destroy();
  begin(tree);
  const count = newCount();
  // the queue of the dead one stays empty: with anything in it that one would not be asked
  const asked = askInTurn(port, 1_000, count);
  await points.reached('offer');
  const before = count.made;
  process.kill(dead, 'SIGKILL');
  await points.reached('vacate');
  points.go('offer');
  await Promise.race([until(() => count.answered >= before + 10, 'answers', 4_000), asked]);
  points.go('vacate');
  await asked;
  // on a busy machine the offer may be of the third one's queue, and the helper have the one that is asked by now
  allAnswered(count, Math.min(count.reset, 1));
});
