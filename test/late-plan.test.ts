// SPDX-License-Identifier: Apache-2.0
// An app that listens alone is to be multiplied: its sockets come before the plan, and both or neither are there. No kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Birth } from '../lib/birth';
import { DEFAULT_SETTINGS } from '../lib/config/settings';
import { makeLatePlan } from '../lib/origin/late-plan';
import type { FirstListen } from '../lib/origin/later';
import type { Multiplied, Plan } from '../lib/origin/plan';
import { lateSockets, type Refuse } from './support/late-sockets';

const EMFILE = -24;
const EADDRINUSE = -98;
const WORKERS = 2;
const MULTIPLIED = { workers: WORKERS } as Multiplied;
const SINGLE: Plan = { reason: 'a plan says no', quiet: true };

/** @param user who the app is, where it has given up the one who has started it */
function scene(refuse: Refuse, plan: Plan = MULTIPLIED, user?: string) {
  const { addon, events, open, shared, listening } = lateSockets(refuse);
  const first = { addon } as FirstListen;
  const birth = {} as Birth;
  const asked: unknown[] = [];
  let generation = 0;
  const nextGeneration = () => ++generation;
  const options = { first, settings: DEFAULT_SETTINGS, birth, user: { now: user }, nextGeneration };
  const made = makeLatePlan(WORKERS, listening, options, (...args) => {
    events.push('plan');
    asked.push(...args);
    return plan;
  });
  return { made, events, open, shared, listening, asked, first, birth };
}

test('the plan for as many workers as there is room for, and a group of each server', () => {
  const { made, listening, asked, first, birth } = scene(() => undefined);
  assert.ok(!('why' in made));
  assert.equal(made.plan, MULTIPLIED);
  assert.deepEqual(asked, [DEFAULT_SETTINGS, birth, { first, workers: WORKERS }]);
  const { groups } = made;
  assert.deepEqual(
    groups.map(({ handle }) => handle),
    [...listening.keys()],
  );
  assert.deepEqual(
    groups.map(({ sockets, generation }) => [generation, sockets]),
    [
      [1, [10, 102, 103]],
      [2, [20, 104, 105]],
    ],
  );
});

test('all sockets are there before the plan, and none listens before it', () => {
  const { events } = scene(() => undefined);
  const plan = events.indexOf('plan');
  assert.ok(events.lastIndexOf('sibling of 20') < plan, `${events}`);
  assert.ok(plan < events.indexOf('listen 102'), `${events}`);
});

/** The servers listen as before, and nobody can join them. */
function unchanged({ open, shared }: ReturnType<typeof scene>): void {
  assert.deepEqual([...open], []);
  assert.deepEqual([...shared], []);
}

test('a plan that stays one process does so for good, and leaves no socket', () => {
  const result = scene(() => undefined, SINGLE);
  assert.deepEqual(result.made, { why: 'a plan says no', lasts: true });
  unchanged(result);
  assert.ok(!result.events.some((event) => event.startsWith('listen')), `${result.events}`);
});

test('sockets that are refused: there is no plan', () => {
  const result = scene((call, open) => (call === 'sibling of 20' && open === 3 ? EMFILE : undefined));
  assert.ok('why' in result.made);
  assert.match(result.made.why, /^4\|127\.0\.0\.1\|20: socket 2 of the listener group/);
  assert.equal(result.made.lasts, false);
  assert.ok(!result.events.includes('plan'));
  unchanged(result);
});

test('sockets that are refused to the user whom the app has become, for good', () => {
  const refuse: Refuse = (call) => (call === 'sibling of 10' ? EADDRINUSE : undefined);
  const { made } = scene(refuse, MULTIPLIED, 'user 65534 and group 65534');
  assert.ok('why' in made);
  assert.match(made.why, / as user 65534 and group 65534, which the app has become$/);
  assert.equal(made.lasts, true);
  const before = scene(refuse).made;
  assert.ok('why' in before);
  assert.equal(before.lasts, false);
});

test('groups that do not come to be: nothing has changed', () => {
  const result = scene((call) => (call === 'listen 105' ? EADDRINUSE : undefined));
  assert.ok('why' in result.made);
  assert.match(result.made.why, /socket 2 of the listener group does not listen/);
  unchanged(result);
});
