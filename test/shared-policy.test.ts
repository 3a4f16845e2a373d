// SPDX-License-Identifier: Apache-2.0
// Who has which shared socket, and until when: the origin's part, without a socket.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { datagramKey, pathKey, type SharedAddress, sharedKey } from '../lib/group/shared-address';
import { Sharables } from '../lib/hook/sharables';
import type { UdpHandle } from '../lib/hook/udp';
import { NEWS_MS } from '../lib/origin/askers';
import { OWN_MS } from '../lib/origin/late-ports';
import { newShared } from '../lib/origin/shared';
import { MUTE_MS, SharedClosings } from '../lib/origin/shared-closings';
import { SharedSockets } from '../lib/origin/shared-sockets';
import { canBind, freeUdpPort } from './support/shared-app';

const FD = 1000;
const bind = { family: 4, address: '127.0.0.1', port: 53, flags: 0 } as const;
const address: SharedAddress = { kind: 'udp', bind };
const key = datagramKey(bind);

class FakeHandle {
  fd = FD;
  onmessage: unknown = () => {};
  close(): void {
    this.fd = -1;
  }
  recvStart(): number {
    return 0;
  }
  send(): number {
    return 0;
  }
}

/** As dgram does when a handle has come to be bound: whatever the app does with it goes by these. */
const use = (handle: FakeHandle) => ({
  sends: () => handle.send(),
  receives: (bytes = 1) => (handle.onmessage as (nread: number) => void)(bytes),
});

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
    unfit: (reason) => log.push(reason),
  });
  const handle = new FakeHandle();
  const [one, two] = workers as [{ index: number }, { index: number }];
  const open = () => sharables.bindUdp(handle as unknown as UdpHandle, bind, () => 0);
  /** What has happened since the last time. */
  const seen = () => log.splice(0);
  return { shared, handle, one, two, open, seen };
}

describe('a UDP port of the tree', () => {
  test('goes to those that ask', (t) => {
    const { shared, one, two, open, seen } = scene(t);
    assert.equal(open(), 0);
    for (const worker of [one, two]) shared.message(worker, { kind: 'share', address });
    assert.deepEqual(seen(), [`hand 1 1 ${FD}`, `hand 2 1 ${FD}`]);
    t.mock.timers.tick(10 * OWN_MS);
    assert.deepEqual(seen(), [], 'nothing is made for copies');
  });

  test('that has just closed is waited for', (t) => {
    const { shared, handle, one, two, open, seen } = scene(t);
    open();
    for (const worker of [one, two]) shared.message(worker, { kind: 'share', address });
    handle.close();
    seen();
    shared.message(two, { kind: 'share', address });
    assert.deepEqual(seen(), []);
    handle.fd = FD;
    assert.equal(open(), 0);
    assert.deepEqual(seen().at(-1), `hand 2 2 ${FD}`);
  });

  test('is not waited for by a worker that has no channel', (t) => {
    const { shared, handle, one, open, seen } = scene(t);
    open();
    shared.message(one, { kind: 'share', address });
    handle.close();
    seen();
    shared.channelLost(one);
    assert.deepEqual(seen(), [`close ${FD + 1}`]);
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
    shared.workerLeft(two);
    assert.deepEqual(seen(), [`close ${FD + 1}`]);
  });

  test('is nobody’s business where no worker has it', (t) => {
    const { shared, handle, one, open, seen } = scene(t);
    open();
    shared.message(one, { kind: 'share', address });
    shared.workerLeft(one);
    seen();
    handle.close();
    assert.equal(handle.fd, -1);
    assert.deepEqual(seen(), []);
  });
});

describe('a UDP socket that sends before anything has come', () => {
  const reason =
    'it sends from UDP port 127.0.0.1:53 before anything has come there: answers would reach any process';
  const name = { key, generation: 1 };
  function opened(t: TestContext) {
    const all = scene(t);
    all.open();
    all.handle.recvStart();
    return { ...all, app: use(all.handle) };
  }

  test('in the origin: it is for one process', (t) => {
    const { shared, one, app, seen } = opened(t);
    app.sends();
    app.receives();
    t.mock.timers.tick(NEWS_MS);
    assert.deepEqual(seen(), [], 'as long as no worker wants it');
    shared.message(one, { kind: 'share', address });
    assert.deepEqual(seen(), [reason, `hand 1 1 ${FD}`]);
  });

  test('in the origin, when a worker has it', (t) => {
    const { shared, one, app, seen } = opened(t);
    shared.message(one, { kind: 'share', address });
    shared.message(one, { kind: 'used', ...name });
    app.sends();
    seen();
    t.mock.timers.tick(NEWS_MS);
    assert.deepEqual(seen(), [reason]);
  });

  test('in a worker; not where another process has received first', (t) => {
    for (const heard of [false, true]) {
      const { shared, one, two, seen } = opened(t);
      for (const worker of [one, two]) {
        shared.message(worker, { kind: 'share', address });
        shared.message(worker, { kind: 'used', ...name });
      }
      seen();
      shared.message(two, { kind: 'first', ...name, first: { way: 'sent', atMs: 2 } });
      // an answer, or what is answered
      shared.message(one, { kind: 'first', ...name, first: { way: 'received', atMs: heard ? 1 : 3 } });
      t.mock.timers.tick(NEWS_MS);
      assert.deepEqual(seen(), heard ? [] : [reason]);
      t.mock.timers.reset();
    }
  });

  test('is no affair of others where one process has it', async (t) => {
    const { shared, one, two, seen } = scene(t);
    const port = await freeUdpPort();
    const own: SharedAddress = { kind: 'udp', bind: { ...bind, port } };
    const named = { key: datagramKey(own.bind), generation: 1 };
    shared.message(one, { kind: 'share', address: own });
    shared.message(one, { kind: 'used', ...named });
    shared.message(one, { kind: 'first', ...named, first: { way: 'sent', atMs: 1 } });
    t.mock.timers.tick(NEWS_MS);
    assert.match(seen().join(), /^hand 1 1 \d+$/);
    shared.message(two, { kind: 'share', address: own });
    assert.match(seen().join(), /^it sends from UDP port .*hand 2/);
    for (const worker of [one, two]) shared.workerLeft(worker);
    t.mock.timers.tick(OWN_MS);
  });

  test('an error is no datagram; afterwards the handle is as it was', (t) => {
    const { handle, app } = opened(t);
    const own = () => Object.keys(Object.getOwnPropertyDescriptors(handle)).sort();
    app.receives(-1);
    assert.deepEqual(own(), ['fd', 'onmessage', 'send']);
    app.receives(0);
    assert.deepEqual(own(), ['fd', 'onmessage']);
  });
});

describe('a server on a path that has closed', () => {
  const scenes = (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let closed = false;
    const handle = new FakeHandle() as unknown as UdpHandle;
    const shared = newShared({
      key: 'unix|/run/app',
      generation: 1,
      handle,
      made: undefined,
      file: undefined,
    });
    shared.letClose = () => {
      closed = true;
    };
    shared.serving.add(1);
    const closings = new SharedClosings(() => 0);
    t.after(() => closings.workerLeft(1));
    return { closings, shared, isClosed: () => closed };
  };

  test('waits for the successor of a worker that has ended where that one may have it, too', (t) => {
    const { closings, shared, isClosed } = scenes(t);
    const before = performance.now();
    closings.begin(shared);
    closings.workerLeft(1, before);
    assert.equal(isClosed(), false);
    closings.workerLeft(1, performance.now() + 1);
    assert.equal(isClosed(), true);
  });

  for (const [when, lose] of [
    ['before', ({ shared }) => shared.mute.add(1)],
    ['after', ({ closings }) => closings.channelLost(1)],
  ] as [string, (all: ReturnType<typeof scenes>) => void][])
    test(`waits a while for the connections of a worker that lost its channel ${when}`, (t) => {
      const all = scenes(t);
      if (when === 'before') lose(all);
      all.closings.begin(all.shared);
      if (when === 'after') lose(all);
      t.mock.timers.tick(MUTE_MS - 1);
      assert.equal(all.isClosed(), false);
      t.mock.timers.tick(1);
      assert.equal(all.isClosed(), true);
    });
});

describe('what is made for copies', () => {
  test('is not made when all that wait have ended', (t) => {
    const { shared, one, two, seen } = scene(t);
    const path: SharedAddress = { kind: 'path', path: `\0fastsocket-${process.pid}-none`, mode: 0 };
    for (const worker of [one, two]) shared.message(worker, { kind: 'share', address: path });
    for (const worker of [one, two]) shared.workerLeft(worker);
    t.mock.timers.tick(2 * OWN_MS);
    shared.message(two, { kind: 'share', address: path });
    assert.deepEqual(seen(), [], 'it waits for the origin: there is nothing yet');
    shared.workerLeft(two);
  });

  test('is not waited for: a UDP port the first time, a path the second', async (t) => {
    const { shared, one, two, seen } = scene(t);
    const port = await freeUdpPort();
    const udp: SharedAddress = { kind: 'udp', bind: { ...bind, port } };
    const path: SharedAddress = { kind: 'path', path: `\0fastsocket-${process.pid}-copies`, mode: 0 };
    let generation = 0;
    for (const [shares, waitMs] of [
      [udp, 0],
      [udp, 0],
      [path, OWN_MS],
      [path, 0],
    ] as const) {
      const named = { key: sharedKey(shares), generation: ++generation };
      shared.message(one, { kind: 'share', address: shares });
      if (waitMs > 0) {
        assert.deepEqual(seen(), []);
        t.mock.timers.tick(waitMs);
      }
      assert.match(seen().join(), new RegExp(`^hand 1 ${generation} \\d+`));
      shared.message(one, { kind: 'used', ...named });
      shared.message(one, { kind: 'unused', ...named });
      assert.ok(seen().includes('send 1 unshare'));
      for (const worker of [one, two]) shared.message(worker, { kind: 'unshared', ...named });
      seen();
    }
  });

  test('goes a while after its last user has, who has not closed it, unless a successor has come', async (t) => {
    const { shared, one, two, seen } = scene(t);
    const port = await freeUdpPort();
    const own: SharedAddress = { kind: 'udp', bind: { ...bind, port } };
    const name = { key: datagramKey(own.bind), generation: 1 };
    shared.message(one, { kind: 'share', address: own });
    assert.match(seen().join(), /^hand 1 1 \d+$/);
    shared.message(one, { kind: 'used', ...name });
    shared.workerLeft(one);
    t.mock.timers.tick(OWN_MS - 1);
    shared.message(two, { kind: 'share', address: own });
    assert.match(seen().join(), /^hand 2 1 \d+$/, 'what has queued up is its');
    shared.message(two, { kind: 'used', ...name });
    t.mock.timers.tick(2 * OWN_MS);
    assert.equal(await canBind(port), false);
    shared.workerLeft(two);
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
