// SPDX-License-Identifier: Apache-2.0
// Without a steering program: who is in the group, looked at after every single call into the kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HANDSHAKE_MS, LINGER_MS } from '../lib/group/departures';
import { ListenerGroup } from '../lib/group/listener-group';
import { makeSiblings } from '../lib/group/siblings';
import type { TcpHandle } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';

const EPERM = -1;
const ENOENT = -2;
const EAGAIN = -11;
const OWN = 10;
const WORKERS = 3;

/** Stands for a kernel that refuses the program, and for libuv's listen(). */
class Kernel {
  readonly listening = new Set<number>();
  /** Sockets that take no SYN. */
  readonly deaf = new Set<number>();
  /** libuv polls the origin's socket. */
  polled = false;
  private nextFd = OWN + 1;

  listen(fd: number): number {
    this.listening.add(fd);
    return 0;
  }

  readonly addon = {
    reusePort: () => 0,
    attachProgram: () => EPERM,
    sibling: (_fd: number, backlog: number) => {
      const fd = this.nextFd++;
      if (backlog >= 0) this.listening.add(fd);
      return fd;
    },
    dropSyn: (fd: number) => this.deaf.add(fd),
    keepSyn: (fd: number) => this.deaf.delete(fd),
    accept: () => EAGAIN,
    shutdownRead: (fd: number) => {
      assert.ok(this.deaf.has(fd), 'a handshake may have begun just now');
      this.listening.delete(fd);
      assert.ok(this.listening.size > 0, 'nobody listens: a SYN that comes now is refused');
      return 0;
    },
    listen: (fd: number) => this.listen(fd),
    pollAdd: () => {
      this.polled = true;
      return 0;
    },
    pollDelete: () => {
      if (!this.polled) return ENOENT;
      this.polled = false;
      return 0;
    },
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

const DONE_MS = LINGER_MS + HANDSHAKE_MS;

/** Advances the group as its origin does, for `ms`. */
function pass(group: ListenerGroup, clock: { now: number }, ms: number): void {
  for (const end = clock.now + ms; clock.now <= end; clock.now += 20) group.advance(clock.now);
}

test('without a program only sockets that are served are in the group, and there is one at every moment', () => {
  const kernel = new Kernel();
  const group = open(kernel);
  assert.deepEqual([...kernel.listening], [OWN]);
  kernel.polled = true;
  const clock = { now: performance.now() };
  for (const live of [[1], [1, 2, 3], [2], [2, 3], [], [1, 3], []]) {
    for (const index of [1, 2, 3]) if (!live.includes(index)) group.workerEnded(index);
    // a worker listens itself before it says that it is ready
    for (const index of live) kernel.listen(group.sockets[index] as number);
    group.settle(live);
    clock.now = performance.now() + DONE_MS;
    pass(group, clock, DONE_MS);
    const served = live.length > 0 ? live.map((index) => group.sockets[index]) : [OWN];
    assert.deepEqual([...kernel.listening].sort(), served);
    assert.deepEqual([...kernel.deaf], []);
    assert.equal(group.departing, false);
    assert.equal(kernel.polled, live.length === 0, 'the origin accepts where nobody else does');
  }
});

test('sockets for more workers come to listen with their workers, and nothing has to leave for them', () => {
  const kernel = new Kernel();
  const group = open(kernel);
  kernel.polled = true;
  for (const index of [1, 2, 3]) kernel.listen(group.sockets[index] as number);
  group.settle([1, 2, 3]);
  group.advance();
  assert.equal(group.departing, false);
  const more = makeSiblings(kernel.addon, group, 2);
  assert.ok(Array.isArray(more));
  group.add(more);
  group.settle([1, 2, 3]);
  assert.equal(group.departing, false);
  assert.equal(kernel.listening.size, 3);
  kernel.listen(group.sockets[5] as number);
  group.settle([1, 2, 3, 5]);
  group.workerEnded(5);
  group.settle([1, 2, 3]);
  assert.equal(group.departing, true, 'like the others');
});

test('the origin stands by also where libuv has not come to poll its socket yet', () => {
  const kernel = new Kernel();
  const group = open(kernel);
  group.settle([1]);
  assert.equal(group.departing, true, 'goes on trying');
  kernel.polled = true;
  group.advance();
  assert.deepEqual([kernel.polled, group.departing], [false, false]);
});

test('a worker that listened and ended before it could say so leaves no socket that nobody looks after', () => {
  const kernel = new Kernel();
  const group = open(kernel);
  kernel.listen(group.sockets[1] as number);
  group.settle([1]);
  kernel.listen(group.sockets[2] as number);
  group.workerEnded(2);
  group.settle([1]);
  assert.ok(kernel.listening.has(group.sockets[2] as number));
  pass(group, { now: performance.now() + DONE_MS }, DONE_MS);
  assert.deepEqual([...kernel.listening], [group.sockets[1]]);
});
