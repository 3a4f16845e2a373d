// SPDX-License-Identifier: Apache-2.0
// What workers tell of themselves, as the origin's policy sees it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FigureReader } from '../lib/group/pulse';

const MS = 1e6;
interface Seat {
  joined?: number;
  turns?: number;
  accepted?: number;
  open?: number;
  idleMs?: number;
}

/** As Addon.balanceFigures gives it. */
const listOf = (...seats: Seat[]): number[] => [
  ...[1, 2, 3, 4, 5, 6, 7],
  ...seats.flatMap(({ joined = 1, turns = 0, accepted = 0, open = 0, idleMs = 0 }) => [
    joined,
    turns,
    accepted,
    0,
    open,
    idleMs * MS,
    ...[0, 0, 0, 0, 0],
  ]),
];

const idleOf = (reader: FigureReader, seat: Seat, elapsedMs = 100): number =>
  (reader.read(listOf(seat), elapsedMs)[0]?.idle ?? Number.NaN) / MS;

test('a row for each worker that takes part', () => {
  const reader = new FigureReader();
  assert.deepEqual(reader.read(listOf({ accepted: 5, open: 2 }, { joined: 0 }, { accepted: 7 }), 100), [
    { index: 1, accepted: 5, open: 2, idle: 0 },
    { index: 3, accepted: 7, open: 0, idle: 0 },
  ]);
  assert.deepEqual(reader.read([-3], 100), []);
});

test('a worker that sleeps on says so when it wakes: until then it is counted, and never twice', () => {
  const reader = new FigureReader();
  assert.equal(idleOf(reader, { turns: 11, idleMs: 1_000 }), 1_000);
  assert.equal(idleOf(reader, { turns: 11, idleMs: 1_000 }), 1_100);
  assert.equal(idleOf(reader, { turns: 11, idleMs: 1_000 }), 1_200);
  // it woke after 250 ms, and has slept again since
  assert.equal(idleOf(reader, { turns: 17, idleMs: 1_250 }), 1_250);
  assert.equal(idleOf(reader, { turns: 17, idleMs: 1_250 }), 1_350);
  // it woke at once, and works: what was counted early is made good by what it sleeps later
  assert.equal(idleOf(reader, { turns: 20, idleMs: 1_251 }), 1_350);
  assert.equal(idleOf(reader, { turns: 21, idleMs: 1_300 }), 1_350);
  assert.equal(idleOf(reader, { turns: 23, idleMs: 1_400 }), 1_400);
});

test('a worker that is in one turn for long does not sleep', () => {
  const reader = new FigureReader();
  idleOf(reader, { turns: 10, idleMs: 500 });
  assert.equal(idleOf(reader, { turns: 10, idleMs: 500 }), 500);
});

test('a successor begins anew', () => {
  const reader = new FigureReader();
  idleOf(reader, { turns: 101, idleMs: 900 });
  idleOf(reader, { turns: 101, idleMs: 900 });
  assert.equal(idleOf(reader, { turns: 3, idleMs: 20 }), 20);
  assert.equal(idleOf(reader, { joined: 0, turns: 3, idleMs: 20 }).toString(), 'NaN');
  assert.equal(idleOf(reader, { turns: 5, idleMs: 70 }), 70);
});
