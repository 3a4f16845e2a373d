// SPDX-License-Identifier: Apache-2.0
// For how long the origin looks after queues that no worker serves. No kernel.
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import type { ListenerGroup } from '../lib/group/listener-group';
import { UnservedQueues } from '../lib/origin/unserved-queues';

/** More than it takes until nothing comes any more. */
const LONG_MS = 6_000;

function scene(t: TestContext) {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let rounds = 0;
  const group = {
    hasProgram: true,
    ready: new Set([1, 3]),
    workerSockets: 3,
    departing: false,
    drainUnserved: () => {
      rounds++;
      return 0;
    },
    advance: () => {},
  } as unknown as ListenerGroup;
  const vacant = new Map<number, number>();
  const queues = new UnservedQueues(
    () => [group],
    () => false,
    (index) => vacant.get(index),
  );
  /** Rounds for a change, and after it. */
  const change = (): number => {
    rounds = 0;
    queues.look();
    for (const end = now + LONG_MS; now < end; ) {
      now += 20;
      mock.timers.tick(20);
    }
    return rounds;
  };
  return { group, vacant, change, now: () => now };
}

test('one that is to be replaced: for some seconds after each change', (t) => {
  const { change } = scene(t);
  for (let i = 0; i < 2; i++) assert.ok(change() > 100);
});

test('one that is not to be replaced: for some seconds, once', (t) => {
  const { group, vacant, change, now } = scene(t);
  vacant.set(2, now());
  assert.ok(change() > 100);
  assert.equal(change(), 1);
  group.ready.delete(3);
  assert.ok(change() > 100, 'another one is missing');
});
