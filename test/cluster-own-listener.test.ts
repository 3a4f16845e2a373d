// SPDX-License-Identifier: Apache-2.0
// A server of the app's own worker on a socket of its own, without a kernel.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isFull, OwnListener } from '../lib/cluster/own-listener';
import type { ServerInside, TcpHandle } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';

const EAGAIN = -11;

test('a server is full as cluster says it', () => {
  const full = (maxConnections: number | null | undefined, dropMaxConnection = false) =>
    isFull({ maxConnections, _connections: 2, dropMaxConnection } as unknown as ServerInside);
  assert.equal(full(undefined), false);
  assert.equal(full(null), false);
  assert.equal(full(3), false);
  assert.equal(full(2), true);
  assert.equal(full(1), true);
  assert.equal(full(1, true), false, 'it drops them itself');
  assert.equal(full(0), Number.parseInt(process.versions.node, 10) >= 22);
});

describe('a socket of its own', () => {
  const started = (server: object) => {
    const said: string[] = [];
    let real: Partial<TcpHandle> = {};
    const TCP = function (this: Partial<TcpHandle>) {
      Object.assign(this, {
        open: () => 0,
        listen: () => 0,
        fd: 5,
        unref: () => said.push('unref'),
        close: () => said.push('closed'),
      });
      real = this;
    };
    const listener = new OwnListener({
      addon: {
        seamOwn: () => 0,
        balanceHelp: () => 0,
        balanceFlush: () => 0,
        accept: () => EAGAIN,
      } as unknown as Addon,
      tcp: { TCP, constants: { SERVER: 1 } } as never,
      server: Object.assign({ _connections: 1 }, server) as never,
      faux: { onconnection: (_status: number, client: unknown) => said.push(`serves ${client}`) } as never,
      refuse: (client: unknown) => said.push(`refuses ${client}`),
      lost: () => said.push('lost'),
    });
    assert.equal(listener.listen(5, 7, 511), 0);
    const arrives = (status: number, client?: unknown) => real.onconnection?.(status, client as TcpHandle);
    return { listener, arrives, said };
  };

  test('serves what comes, and nobody hears of what fails', () => {
    const { arrives, said } = started({});
    arrives(0, 'one');
    arrives(-24);
    assert.deepEqual(said, ['serves one']);
  });

  test('sends back what there is no room for', () => {
    const { arrives, said } = started({ maxConnections: 1 });
    arrives(0, 'one');
    assert.deepEqual(said, ['refuses one']);
  });

  test('is given up when the primary has ended it: it would be reported without an end', () => {
    const { arrives, said } = started({});
    arrives(-22);
    assert.deepEqual(said, ['lost']);
  });

  test('keeps the process alive no more than its server does, and is closed once', () => {
    const { listener, said } = started({ _unref: true });
    assert.equal(listener.serves(7), true);
    assert.equal(listener.serves(6), false);
    listener.close();
    listener.close();
    assert.deepEqual(said, ['unref', 'closed']);
    assert.equal(listener.listening, false);
  });
});
