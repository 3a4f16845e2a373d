// SPDX-License-Identifier: Apache-2.0
// Which servers of a worker end with it, as long as they listen as they did.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { beforeEach, test } from 'node:test';
import type { ServerInside } from '../lib/hook/tcp';
import { ClusterServers } from '../lib/worker/cluster-servers';

/** Names of servers whose close() has been called. */
const closed: string[] = [];
let servers: ClusterServers;
let ends: number;

type Fake = ServerInside & { listens(): void; ends(): void };

/** Its 'close' comes when the test says that its last connection has ended. */
function serve(name: string): Fake {
  const server = Object.assign(new EventEmitter(), {
    _handle: {} as object | null,
    close(callback?: () => void) {
      closed.push(name);
      server._handle = null;
      if (callback) server.once('close', callback);
      return server;
    },
    listens() {
      server._handle = {};
    },
    ends: () => server.emit('close'),
  });
  servers.add(server as unknown as Fake);
  return server as unknown as Fake;
}

beforeEach(() => {
  closed.length = 0;
  ends = 0;
  servers = new ClusterServers(() => ends++);
});

test('the worker disconnects when all have closed', () => {
  let done = 0;
  const [first, second] = [serve('first'), serve('second')];
  servers.close(() => done++);
  assert.deepEqual(closed, ['first', 'second']);
  first.ends();
  assert.equal(done, 0);
  second.ends();
  assert.equal(done, 1);
  servers.close(() => done++);
  assert.deepEqual([closed.length, done], [2, 2], 'at once, where none listens');
});

test('one that listens in a way of its own by now is left alone', () => {
  const server = serve('server');
  server.close();
  server.listens();
  closed.length = 0;
  servers.leave();
  servers.close(() => {});
  assert.deepEqual(closed, []);
});

test('the worker is told to end: those that have connections are waited for', () => {
  const server = serve('server');
  servers.leave();
  assert.deepEqual([closed, servers.ending, ends], [['server'], 1, 0]);
  server.ends();
  assert.deepEqual([servers.ending, ends], [0, 1]);
});

test('those that have closed are forgotten', () => {
  const kept = () => (servers as unknown as { handles: Map<unknown, unknown> }).handles.size;
  for (let i = 0; i < 1_000; i++) serve(`${i}`).close();
  assert.ok(kept() <= 64, `${kept()} of 1,000`);
});
