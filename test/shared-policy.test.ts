// SPDX-License-Identifier: Apache-2.0
// Who has which shared socket, and until when: the origin's part, without a socket.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { datagramKey, pathKey, type SharedAddress } from '../lib/group/shared-address';
import { Sharables } from '../lib/hook/sharables';
import type { UdpHandle } from '../lib/hook/udp';
import { OWN_MS } from '../lib/origin/late-ports';
import { SharedSockets } from '../lib/origin/shared-sockets';
import { canBind, freeUdpPort } from './support/shared-app';

const FD = 1000;
const bind = { family: 4, address: '127.0.0.1', port: 53, flags: 0 } as const;
const address: SharedAddress = { kind: 'udp', bind };
const key = datagramKey(bind);

class FakeHandle {
  fd = FD;
  close(): void {
    this.fd = -1;
  }
}

function scene(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const log: string[] = [];
  const workers = [{ index: 1 }, { index: 2 }];
  const sharables = new Sharables();
  const shared = new SharedSockets<{ index: number }>({
    addon: {
      dup: (fd) => log.push(`dup ${fd}`) && FD + 1,
      close: (fd) => log.push(`close ${fd}`) && 0,
      occupy: (fd, from) => log.push(`occupy ${fd} ${from}`) && fd,
    },
    sharables,
    workers: () => workers,
    hand: ({ index }, { sockets, own }, fds) => {
      log.push(
        `hand ${index} ${own === undefined ? sockets.map(({ generation }) => generation) : 'own'} ${fds}`,
      );
    },
    send: ({ index }, message) => log.push(`send ${index} ${message.kind}`),
  });
  const handle = new FakeHandle();
  const [one, two] = workers as [{ index: number }, { index: number }];
  const open = () => sharables.bindUdp(handle as unknown as UdpHandle, bind, () => 0);
  /** What has happened since the last time. */
  const seen = () => log.splice(0);
  return { shared, handle, one, two, open, seen };
}

describe('a UDP port of the tree', () => {
  test('goes to those that wait when the origin opens it, and at once to those that ask later', (t) => {
    const { shared, one, two, open, seen } = scene(t);
    shared.message(one, { kind: 'share', address });
    assert.deepEqual(seen(), []);
    assert.equal(open(), 0);
    assert.deepEqual(seen(), [`hand 1 1 ${FD}`]);
    shared.message(two, { kind: 'share', address });
    assert.deepEqual(seen(), [`hand 2 1 ${FD}`]);
    t.mock.timers.tick(10 * OWN_MS);
    assert.deepEqual(seen(), [], 'nothing is made for copies');
  });

  test('ends in all when the origin closes it, which keeps it until all have let go', (t) => {
    const { shared, handle, one, two, open, seen } = scene(t);
    open();
    for (const worker of [one, two]) shared.message(worker, { kind: 'share', address });
    seen();
    handle.close();
    assert.equal(handle.fd, -1);
    assert.deepEqual(seen(), [`dup ${FD}`, 'send 1 unshare', 'send 2 unshare']);
    shared.message(one, { kind: 'unshared', key, generation: 1 });
    shared.message(two, { kind: 'unshared', key, generation: 7 });
    assert.deepEqual(seen(), []);
    shared.workerLeft(two, false);
    assert.deepEqual(seen(), [`close ${FD + 1}`]);
  });

  test('is nobody’s business where no worker has it', (t) => {
    const { shared, handle, one, open, seen } = scene(t);
    open();
    shared.message(one, { kind: 'share', address });
    shared.workerLeft(one, false);
    seen();
    handle.close();
    assert.equal(handle.fd, -1);
    assert.deepEqual(seen(), []);
  });

  test('a worker that ends while it waits gets nothing', (t) => {
    const { shared, one, two, open, seen } = scene(t);
    for (const worker of [one, two]) shared.message(worker, { kind: 'share', address });
    shared.workerLeft(one, false);
    open();
    assert.deepEqual(seen(), [`hand 2 1 ${FD}`]);
  });
});

describe('what is made for copies', () => {
  test('is not made when all that wait have ended', (t) => {
    const { shared, one, two, seen } = scene(t);
    for (const worker of [one, two]) shared.message(worker, { kind: 'share', address });
    for (const worker of [one, two]) shared.workerLeft(worker, false);
    t.mock.timers.tick(2 * OWN_MS);
    shared.message(two, { kind: 'share', address });
    assert.deepEqual(seen(), [], 'it waits for the origin: there is nothing yet');
  });

  test('goes a while after its last user has, who has not closed it, unless a successor has come', async (t) => {
    const { shared, one, two, seen } = scene(t);
    const port = await freeUdpPort();
    const own: SharedAddress = { kind: 'udp', bind: { ...bind, port } };
    const name = { key: datagramKey(own.bind), generation: 1 };
    shared.message(one, { kind: 'share', address: own });
    t.mock.timers.tick(OWN_MS);
    assert.match(seen().join(), /^hand 1 1 \d+$/);
    shared.message(one, { kind: 'used', ...name });
    shared.workerLeft(one, false);
    t.mock.timers.tick(OWN_MS - 1);
    shared.message(two, { kind: 'share', address: own });
    assert.match(seen().join(), /^hand 2 1 \d+$/, 'what has queued up is its');
    shared.message(two, { kind: 'used', ...name });
    t.mock.timers.tick(2 * OWN_MS);
    assert.equal(await canBind(port), false);
    shared.workerLeft(two, false);
    t.mock.timers.tick(OWN_MS);
    assert.equal(await canBind(port), true);
  });
});

describe('what the origin knows to be open', () => {
  test('is forgotten when it has closed, and not before', () => {
    const sharables = new Sharables();
    const open = (port: number, handle: FakeHandle) =>
      sharables.bindUdp(handle as unknown as UdpHandle, { ...bind, port }, () => 0);
    const kept = new FakeHandle();
    open(1, kept);
    for (let port = 2; port < 1_000; port++) {
      const handle = new FakeHandle();
      open(port, handle);
      handle.close();
    }
    assert.equal(sharables.find(datagramKey({ ...bind, port: 1 })), kept);
    assert.equal(sharables.find(datagramKey({ ...bind, port: 500 })), undefined);
    assert.ok(sharables.size <= 64, `${sharables.size}`);
  });

  test('is the first of two servers on a path', () => {
    class Pipe extends FakeHandle {}
    const sharables = new Sharables();
    const [first, second] = [1, 2].map(() => ({ _handle: new Pipe(), _pipeName: '/run/app' })) as [
      object,
      object,
    ];
    sharables.listenCalled(first, { path: '/run/app' });
    sharables.listenCalled(second, { path: '/run/app' });
    assert.equal(sharables.server(pathKey('/run/app')), first);
  });

  test('is not what could not be bound', () => {
    const sharables = new Sharables();
    const handle = new FakeHandle() as unknown as UdpHandle;
    assert.equal(
      sharables.bindUdp(handle, bind, () => -98),
      -98,
    );
    assert.equal(sharables.find(key), undefined);
  });
});
