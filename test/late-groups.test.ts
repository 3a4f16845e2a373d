// SPDX-License-Identifier: Apache-2.0
// Servers that listen alone become listener groups, all or none. No kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dropAllLateSockets, makeAllLateSockets, openLateGroups } from '../lib/origin/late-groups';
import { lateSockets, type Refuse } from './support/late-sockets';

const EPERM = -1;
const EMFILE = -24;
const EADDRINUSE = -98;
const WORKERS = 2;
const PROGRAM = new Uint8Array(8);

/** Says what happens; `refuse` is asked about each call that can fail. */
function scene(refuse: Refuse) {
  const { events, open, shared, addon, listening } = lateSockets(refuse);
  let generation = 0;
  const plan = { addon, workers: WORKERS, originOnly: PROGRAM };
  const sockets = makeAllLateSockets(plan, listening);
  const groups = 'why' in sockets ? sockets : openLateGroups(plan, listening, sockets, () => ++generation);
  return { events, open, shared, groups, addon, sockets };
}

test('a program follows the first socket that listens, before any other does', () => {
  const { events, groups } = scene(() => undefined);
  assert.ok(Array.isArray(groups));
  assert.deepEqual(
    groups.map(({ sockets, hasProgram, generation }) => [sockets, hasProgram, generation]),
    [
      [[10, 102, 103], true, 1],
      [[20, 104, 105], true, 2],
    ],
  );
  const first = events.indexOf('listen 102');
  assert.deepEqual(events.slice(first, first + 3), ['listen 102', 'program 10', 'listen 103']);
  assert.ok(!events.some((event) => event.endsWith('that listens')), 'not before all are there');
});

for (const [what, lasts, refuse] of [
  ['no program is taken', true, (call: string) => (call.startsWith('program') ? EPERM : undefined)],
  ['the second cannot be shared', true, (call: string) => (call === 'share 20' ? EPERM : undefined)],
  [
    'there are no descriptors for the second',
    false,
    (call: string, open: number) => (call === 'sibling of 20' && open === 3 ? EMFILE : undefined),
  ],
  [
    'the last socket does not listen',
    false,
    (call: string) => (call === 'listen 105' ? EADDRINUSE : undefined),
  ],
] as const)
  test(`${what}: all stay as they are, and nothing is left`, () => {
    const { open, shared, groups } = scene(refuse);
    assert.ok('why' in groups);
    assert.equal(groups.lasts, lasts, groups.why);
    assert.deepEqual([...open], []);
    assert.deepEqual([...shared], [], 'nobody else can join');
  });

test('nothing is made where the kernel takes no program', () => {
  const { events } = scene((call) => (call.startsWith('program') ? EPERM : undefined));
  assert.deepEqual(events, ['probe', 'program 101']);
});

test('sockets of which nothing comes', () => {
  const { addon, sockets, open, shared } = scene((call) => (call === 'listen 102' ? EADDRINUSE : undefined));
  assert.ok(!('why' in sockets));
  dropAllLateSockets(addon, sockets);
  assert.deepEqual([...open, ...shared], []);
});

test('what has come to sockets that listen already is served', () => {
  const { events } = scene((call) => (call === 'listen 105' ? EADDRINUSE : undefined));
  const served = events.slice(events.indexOf('listen 105'));
  for (const socket of [102, 103, 104]) assert.ok(served.includes(`accept ${socket}`), `${socket}`);
});
