// SPDX-License-Identifier: Apache-2.0
// A socket that is to be left while its server goes on: where the process may open no descriptor for that (EMFILE) the server
// closes, so that nobody finds the port taken.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { beforeEach, describe, test } from 'node:test';
import type { ServerInside } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';
import { Listeners, type ListenersOptions, type Listening } from '../lib/worker/listeners';
import { OwnPorts } from '../lib/worker/own-ports';
import type { ToOrigin } from '../lib/workers/messages';

const EAGAIN = -11;
const EMFILE = -24;
const KEY = '4|127.0.0.1|80';
const GENERATION = 3;

const done: string[] = [];
let full: boolean;

function note(what: string): 0 {
  done.push(what);
  return 0;
}

const addon = {
  accept: () => EAGAIN,
  balanceFlush: () => 0,
  pollDelete: () => note('not polled'),
  pollAdd: () => note('polled'),
  vacate: () => (full ? EMFILE : note('left')),
} as unknown as Addon;

interface Served {
  handle: Listening['handle'];
  server: ServerInside;
}

/** A server that listens. */
function serve(): Served {
  const handle = Object.assign(Object.create({ close: () => done.push('closed') }), { fd: 20 });
  const server = Object.assign(new EventEmitter(), {
    _connections: 0,
    listening: true,
    close: () => handle.close(),
  });
  handle.owner = server;
  return { handle, server: server as unknown as ServerInside };
}

beforeEach(() => {
  done.length = 0;
  full = false;
});

describe('a group that the origin closes, whose server here has closed and listens again', () => {
  function closeGroup(): Served {
    const tell = ({ kind }: ToOrigin) => done.push(kind);
    const listeners = new Listeners({
      addon,
      inherited: { read: () => true, drop: () => {}, serverClosed: () => true },
      own: new OwnPorts(addon, () => {}),
      tell,
      others: () => 0,
    } as unknown as ListenersOptions);
    const { handle, server } = serve();
    const listening = {
      key: KEY,
      generation: GENERATION,
      handle,
      backlog: 511,
      inContext: <T>(f: () => T) => f(),
    };
    listeners.add(listening);
    handle.close();
    server.emit('close');
    listeners.add(listening);
    done.length = 0;
    listeners.closeGroup(KEY, GENERATION);
    return { handle, server };
  }

  test('it goes on without a socket', () => {
    closeGroup();
    assert.deepEqual(done, ['not polled', 'left', 'gone', 'closed']);
  });

  test('no descriptor: it closes, and the origin hears of it', () => {
    full = true;
    const { server } = closeGroup();
    assert.deepEqual(done, ['not polled', 'polled', 'gone', 'closed', 'dropped']);
    server.emit('close');
    assert.equal(done.at(-1), 'closed');
    assert.equal(done.length, 6);
  });
});

describe("an address of the worker's own that the origin wants", () => {
  function release(): void {
    const own = new OwnPorts(addon, (key) => done.push(`released ${key}`));
    const { handle, server } = serve();
    server.close = () => {
      handle.close();
      own.closed(KEY);
      return server;
    };
    own.add(KEY, handle, 511);
    own.release(KEY);
  }

  test('it goes on without a socket', () => {
    release();
    assert.deepEqual(done, ['not polled', 'left', `released ${KEY}`]);
  });

  test('no descriptor: it closes', () => {
    full = true;
    release();
    assert.deepEqual(done, ['not polled', 'polled', 'closed', `released ${KEY}`]);
  });
});
