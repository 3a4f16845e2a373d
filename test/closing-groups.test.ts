// SPDX-License-Identifier: Apache-2.0
// Whose end the close of a group waits for: a worker that lives, or is only about to end, has a descriptor of its socket.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClosingGroup } from '../lib/group/closing';
import { ListenerGroup } from '../lib/group/listener-group';
import type { TcpHandle } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';
import { closeGroup, KILLED_MS } from '../lib/origin/close-group';
import { Groups } from '../lib/origin/groups';
import { MUTE_MS } from '../lib/origin/shared-closings';
import { channelLost } from '../lib/origin/worker-words';
import type { Worker, WorkerPool } from '../lib/workers/pool';

const EAGAIN = -11;

function open(groups: Groups): ListenerGroup {
  let fd = 11;
  const addon = {
    reusePort: () => 0,
    attachProgram: () => 0,
    sibling: () => fd++,
    accept: () => EAGAIN,
    dropSyn: () => 0,
    refusals: () => [],
    close: () => 0,
  } as unknown as Addon;
  const options = {
    key: '4|127.0.0.1|80',
    generation: 1,
    bind: { family: 4, address: '127.0.0.1', port: 80, flags: 0 } as const,
    handle: { fd: 10 } as unknown as TcpHandle,
    backlog: 511,
    workers: 2,
    originOnly: new Uint8Array(),
  };
  const group = new ListenerGroup(addon, options);
  group.open(options, () => 0);
  groups.add(group);
  return group;
}

test('a copy that is being ended holds its socket until it has ended', async () => {
  const groups = new Groups();
  const group = open(groups);
  groups.handover(1);
  const killed: number[] = [];
  const pool = { get: () => ({ index: 1 }), kill: () => killed.push(1), send: () => {} };
  // the copy has failed
  group.becomeSingle();
  let isClosed = false;
  const closeHandle = () => {
    isClosed = true;
  };
  closeGroup(group, { groups, pool: pool as unknown as WorkerPool, closeHandle, changed: () => {} });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(isClosed, false, 'it has not ended');
  groups.ended(1);
  assert.equal(isClosed, true);
});

test('one that may not be killed and does not end is not waited for longer than that', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const groups = new Groups();
  const group = open(groups);
  groups.handover(1);
  groups.handover(2);
  const pool = { get: (index: number) => ({ index, killed: index === 1, servedAt: 1 }), send: () => {} };
  let isClosed = false;
  const closeHandle = () => {
    isClosed = true;
  };
  closeGroup(group, { groups, pool: pool as unknown as WorkerPool, closeHandle, changed: () => {} });
  groups.left(2, group.key, group.generation);
  t.mock.timers.tick(KILLED_MS - 1);
  assert.equal(isClosed, false);
  t.mock.timers.tick(1);
  assert.equal(isClosed, true);
});

test('a worker that has given all back is not waited for, though it lives on', async () => {
  const groups = new Groups();
  const pool = { get: () => ({ index: 1 }), kill: () => {}, send: () => {} } as unknown as WorkerPool;
  const closes: string[] = [];
  const close = (name: string, group: ListenerGroup) =>
    closeGroup(group, { groups, pool, closeHandle: () => closes.push(name), changed: () => {} });
  const before = open(groups);
  groups.handover(1);
  close('before', before);
  const after = open(groups);
  groups.handover(1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(closes, []);
  groups.parted(1);
  assert.deepEqual(closes, ['before']);
  close('after', after);
  assert.deepEqual(closes, ['before', 'after']);
});

test('the channel of a worker has gone, and nothing of it was said before: it is waited for a while', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const heard: string[] = [];
  const hearers = {
    groups: { parted: (index: number) => heard.push(`parted ${index}`) },
    served: { resteerAll: () => heard.push('steered') },
    shared: { channelLost: () => heard.push('lost') },
  } as unknown as Parameters<typeof channelLost>[0];
  const worker = (index: number) => ({ index }) as Worker;
  const [lives, dead, parted] = [worker(1), worker(2), worker(3)];
  parted.parted = true;
  for (const one of [lives, dead, parted]) channelLost(hearers, one);
  dead.ended = true;
  assert.deepEqual(heard.splice(0), ['lost', 'lost', 'lost']);
  t.mock.timers.tick(MUTE_MS - 1);
  assert.deepEqual(heard, []);
  t.mock.timers.tick(1);
  assert.deepEqual(heard, ['parted 1', 'steered']);
});

test('the end of a worker is not that of its successor', () => {
  const groups = new Groups();
  const left: string[] = [];
  const closing = (name: string, begun: number) =>
    ({ begun, workerLeft: () => left.push(name) }) as unknown as ClosingGroup;
  groups.closes(closing('before', 100));
  groups.closes(closing('after', 300));
  groups.ended(1, 200);
  assert.deepEqual(left, ['before']);
  groups.ended(1);
  assert.deepEqual(left, ['before', 'before', 'after']);
});
