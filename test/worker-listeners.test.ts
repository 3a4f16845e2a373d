// SPDX-License-Identifier: Apache-2.0
// What a worker has done by the time that it says it has no socket of a group any more: the origin may close them then,
// and whoever still had one would keep the port.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { beforeEach, test } from 'node:test';
import { Listeners, type ListenersOptions, type Listening } from '../lib/worker/listeners';
import type { ToOrigin } from '../lib/workers/messages';

const EAGAIN = -11;
const KEY = '127.0.0.1|80';
const GENERATION = 3;

const done: string[] = [];
let listeners: Listeners;
let listening: Listening;
/** The origin has handed down another socket for the address. */
let replaced: boolean;

function server(generation: number): Listening {
  const owner = Object.assign(new EventEmitter(), { _connections: 0, close: () => made.handle.close() });
  const made = {
    key: KEY,
    generation,
    // interceptClose uncovers the prototype's
    handle: Object.assign(Object.create({ close: () => done.push('closed here') }), { fd: 20, owner }),
    backlog: 511,
    inContext: (f: () => unknown) => f(),
  } as unknown as Listening;
  return made;
}

beforeEach(() => {
  done.length = 0;
  replaced = true;
  listening = server(GENERATION);
  listeners = new Listeners({
    addon: { balanceFlush: (of: number) => done.push(`flushed ${of}`), accept: () => EAGAIN },
    inherited: { read: () => true, drop: () => done.push('dropped here'), serverClosed: () => replaced },
    own: { vacated: new Map(), park: () => done.push('parked') },
    tell: ({ kind }: ToOrigin) => done.push(kind),
  } as unknown as ListenersOptions);
});

/** What was done before this was said. */
function before(said: string): string[] {
  assert.ok(done.includes(said), `${done}`);
  return done.slice(0, done.indexOf(said));
}

test('the app closes its server, and another socket of the address is here: its siblings are let go of before', () => {
  listeners.add(listening);
  listening.handle.close();
  assert.deepEqual(before('dropped'), ['gone', `flushed ${GENERATION}`, 'closed here']);
});

test('the origin closes a group on which nobody listens here', () => {
  listeners.closeGroup(KEY, GENERATION);
  assert.deepEqual(before('closed'), [`flushed ${GENERATION}`, 'dropped here']);
});

test('the origin closes a group whose server is closing here', () => {
  replaced = false;
  listeners.add(listening);
  listening.handle.close();
  done.length = 0;
  listeners.closeGroup(KEY, GENERATION);
  assert.deepEqual(before('dropped'), [`flushed ${GENERATION}`, 'dropped here']);
});

test('the origin closes a group whose server the app had closed and opened again', () => {
  replaced = false;
  listeners.add(listening);
  listening.handle.close();
  listeners.add(listening);
  done.length = 0;
  listeners.closeGroup(KEY, GENERATION);
  assert.deepEqual(before('closed'), [`flushed ${GENERATION}`, 'dropped here', 'parked', 'gone']);
});

test('groups of the origin that have closed are forgotten, whoever has closed first', () => {
  const remembered = () =>
    Object.entries(listeners)
      .filter(([, value]) => (value as { size?: number } | undefined)?.size)
      .map(([name]) => name);
  // the app, and it has opened it again
  listeners.add(listening);
  listening.handle.close();
  listeners.add(listening);
  listeners.closeGroup(KEY, GENERATION);
  listening.handle.owner?.emit('close');
  assert.deepEqual(remembered(), []);
  // the app
  const second = server(GENERATION + 1);
  listeners.add(second);
  second.handle.close();
  assert.notDeepEqual(remembered(), []);
  listeners.closeGroup(KEY, GENERATION + 1);
  second.handle.owner?.emit('close');
  assert.deepEqual(remembered(), []);
  // the origin
  const third = server(GENERATION + 2);
  listeners.add(third);
  listeners.closeGroup(KEY, GENERATION + 2);
  third.handle.owner?.emit('close');
  assert.deepEqual(remembered(), []);
});
