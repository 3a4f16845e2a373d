// SPDX-License-Identifier: Apache-2.0
// Without a steering program: who is in the group, looked at after every single call into the kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ListenerGroup } from '../lib/group/listener-group';
import type { TcpHandle } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';

const EPERM = -1;
const EAGAIN = -11;
const OWN = 10;
const WORKERS = 3;

/** Stands for a kernel that refuses the program, and for libuv's listen(). */
class Kernel {
  readonly listening = new Set<number>();
  private nextFd = OWN + 1;

  listen(fd: number): number {
    this.listening.add(fd);
    return 0;
  }

  readonly addon = {
    reusePort: () => 0,
    attachProgram: () => EPERM,
    sibling: () => {
      const fd = this.nextFd++;
      this.listening.add(fd);
      return fd;
    },
    dropSyn: () => 0,
    keepSyn: () => 0,
    accept: () => EAGAIN,
    shutdownRead: (fd: number) => {
      this.listening.delete(fd);
      assert.ok(this.listening.size > 0, 'nobody listens: a SYN that comes now is refused');
      return 0;
    },
    listen: (fd: number) => this.listen(fd),
    pollAdd: () => 0,
    pollDelete: () => 0,
  } as unknown as Addon;
}

function open(kernel: Kernel): ListenerGroup {
  const options = {
    key: '4|127.0.0.1|80',
    generation: 1,
    bind: { family: 4, address: '127.0.0.1', port: 80, flags: 0 } as const,
    handle: { fd: OWN, onconnection: () => {} } as unknown as TcpHandle,
    backlog: 511,
    workers: WORKERS,
    originOnly: new Uint8Array(),
  };
  const group = new ListenerGroup(kernel.addon, options);
  assert.deepEqual(
    group.open(options, () => kernel.listen(OWN)),
    { error: 0 },
  );
  return group;
}

test('without a program only sockets that are served are in the group, and there is one at every moment', () => {
  const kernel = new Kernel();
  const group = open(kernel);
  assert.deepEqual([...kernel.listening], [OWN]);
  for (const live of [[1], [1, 2, 3], [2], [2, 3], [], [1, 3], []]) {
    // a worker listens itself before it says that it is ready
    for (const index of live) kernel.listen(group.sockets[index] as number);
    group.settle(live);
    const served = live.length > 0 ? live.map((index) => group.sockets[index]) : [OWN];
    assert.deepEqual([...kernel.listening].sort(), served);
  }
});
