// SPDX-License-Identifier: Apache-2.0
// How a worker has ended: by itself, which speaks against copies of the app, or as it was told.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { Crew, type Member } from '../lib/workers/crew';

class TestCrew extends Crew<Member, never> {
  constructor() {
    const nothing = () => {};
    super({ message: nothing, clusterRequest: nothing, exit: nothing, failed: nothing });
  }

  start(): void {}
  send(): void {}
  protected strike(): void {}
  protected left(): void {}
  protected askToExit(): void {}

  /** A worker that has come to serve. */
  add(): { child: EventEmitter; member: Member } {
    const child = Object.assign(new EventEmitter(), { pid: 4711, connected: false });
    const member: Member = { index: 1, process: child as unknown as ChildProcess };
    this.supervise(member);
    this.serves(member);
    return { child, member };
  }
}

for (const [what, act, byItself] of [
  ['one that has said nothing of it', 'listening', true],
  ['one that its app has disconnected, or killed by way of cluster', 'exitedAfterDisconnect', false],
] as const)
  test(`${what}: ${byItself ? 'by itself' : 'as it was told'}`, () => {
    const crew = new TestCrew();
    const { child, member } = crew.add();
    child.emit('internalMessage', { cmd: 'NODE_CLUSTER', act, seq: 1 });
    assert.equal(crew.servedEnd(member, 0, null)?.byItself, byItself);
  });
