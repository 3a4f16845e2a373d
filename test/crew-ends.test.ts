// SPDX-License-Identifier: Apache-2.0
// How a worker has ended: by itself, which speaks against copies of the app, or as it was told.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { TestCrew } from './support/test-crew';

for (const [what, act, byItself] of [
  ['one that has said nothing of it', 'listening', true],
  ['one that its app has disconnected, or killed by way of cluster', 'exitedAfterDisconnect', false],
] as const)
  test(`${what}: ${byItself ? 'by itself' : 'as it was told'}`, () => {
    const crew = new TestCrew();
    const child = Object.assign(new EventEmitter(), { pid: 4711, connected: false });
    const member = crew.add(child);
    crew.serves(member);
    child.emit('internalMessage', { cmd: 'NODE_CLUSTER', act, seq: 1 });
    assert.equal(crew.servedEnd(member, 0, null)?.byItself, byItself);
  });
