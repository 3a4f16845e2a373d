// SPDX-License-Identifier: Apache-2.0
// A process that does not begin is ended; one that has begun, or whose origin has stood still itself, is not.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mock, type TestContext, test } from 'node:test';
import { TestCrew } from './support/test-crew';

class Child extends EventEmitter {
  readonly pid = 4711;
  readonly connected = true;
  readonly kills: unknown[] = [];

  kill(signal: unknown): boolean {
    this.kills.push(signal);
    return this.mayBeKilled;
  }

  constructor(private readonly mayBeKilled: boolean) {
    super();
  }
}

function begin(t: TestContext, mayBeKilled = true): { child: Child; crew: TestCrew } {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  const child = new Child(mayBeKilled);
  const crew = new TestCrew();
  crew.add(child);
  return { child, crew };
}

const seconds = (count: number) => {
  for (let i = 0; i < count; i++) mock.timers.tick(1_000);
};

test('ten seconds without a word', (t) => {
  const { child, crew } = begin(t);
  seconds(9);
  assert.deepEqual(child.kills, []);
  seconds(20);
  assert.deepEqual(child.kills, ['SIGKILL']);
  assert.deepEqual(crew.asked, []);
});

test('one that may not be killed is asked', (t) => {
  const { crew } = begin(t, false);
  seconds(10);
  assert.deepEqual(crew.asked, [1]);
});

for (const [what, event] of [
  ['it has said something', 'internalMessage'],
  ['it has ended', 'exit'],
] as const)
  test(`${what}: nobody waits any more`, (t) => {
    const { child } = begin(t);
    seconds(9);
    child.emit(event, {});
    seconds(20);
    assert.deepEqual(child.kills, []);
  });
