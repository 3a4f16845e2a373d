// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { constants } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { encode, generate } from '../lib/steering/program';
import { testAddon } from './support/addon';
import { freePort, until } from './support/app';
import { noLookInto } from './support/descriptors';
import { noDelayOf } from './support/no-delay';

const addon = testAddon();
const { EAGAIN, EINVAL, ENOENT, ENOTSOCK, EBADF } = constants.errno;

interface Handle {
  fd: number;
  setNoDelay(on: boolean): number;
}

/** A listening server; Node closes it. */
async function listening(t: TestContext, host = '127.0.0.1'): Promise<{ handle: Handle; port: number }> {
  const server: Server = createServer({ pauseOnConnect: true });
  t.after(() => server.close());
  server.listen(0, host);
  await once(server, 'listening');
  const { _handle: handle } = server as unknown as { _handle: Handle };
  return { handle, port: (server.address() as { port: number }).port };
}

interface Group {
  port: number;
  sockets: number[];
}

/** A group of `size` sockets that only the addon knows: socket 0 is a sibling too, so that Node accepts nothing. */
async function group(t: TestContext, size: number, host = '127.0.0.1'): Promise<Group> {
  const { handle: first, port } = await listening(t, host);
  assert.equal(addon.reusePort(first.fd), 0);
  const sockets = Array.from({ length: size }, () => addon.sibling(first.fd, 64));
  for (const socket of sockets) assert.ok(socket >= 0, `sibling: ${socket}`);
  t.after(() => sockets.forEach((socket) => void addon.close(socket)));
  // Node's own leaves the group: only the siblings are left, at 0, 1, ...
  addon.shutdownRead(first.fd);
  return { port, sockets };
}

const only = (index: number) =>
  encode(generate({ sockets: [{ index, weight: 1 }], own: new Map(), loopbackEven: false }));

async function dial(t: TestContext, port: number, count: number, host = '127.0.0.1'): Promise<Socket[]> {
  const clients = Array.from({ length: count }, () => connect(port, host));
  t.after(() => clients.forEach((client) => void client.destroy()));
  await Promise.all(clients.map((client) => once(client, 'connect')));
  return clients;
}

function acceptAll(socket: number): number {
  let accepted = 0;
  for (let fd = addon.accept(socket); fd >= 0; fd = addon.accept(socket)) {
    assert.equal(addon.isCloseOnExec(fd), 1);
    addon.close(fd);
    accepted++;
  }
  return accepted;
}

describe('listener groups', () => {
  for (const host of ['127.0.0.1', '::1']) {
    test(`a program picks the socket by index (${host})`, async (t) => {
      const { port, sockets } = await group(t, 3, host);
      // siblings stand behind the server's own socket in the order of listen(), which has left the group
      for (const index of [0, 1, 2]) {
        assert.equal(addon.attachProgram(sockets[0] as number, only(index)), 0);
        await dial(t, port, 5, host);
        const accepted = sockets.map(acceptAll);
        assert.equal(
          accepted.reduce((a, b) => a + b),
          5,
        );
        assert.equal(Math.max(...accepted), 5, `program ${index}: ${accepted}`);
      }
      assert.equal(addon.detachProgram(sockets[0] as number), 0);
    });
  }

  test('a group made around an exclusive bind refuses everyone else', async (t) => {
    const { port } = await group(t, 2);
    const stranger = createServer().listen({ port, host: '127.0.0.1', exclusive: true });
    const [error] = await once(stranger, 'error');
    assert.equal((error as NodeJS.ErrnoException).code, 'EADDRINUSE');
  });

  test('siblings of a dual-stack socket are dual-stack, of an IPv6-only one they are not', async (t) => {
    for (const ipv6Only of [false, true]) {
      const server = createServer({ pauseOnConnect: true });
      t.after(() => server.close());
      server.listen({ port: 0, host: '::', ipv6Only });
      await once(server, 'listening');
      const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
      addon.reusePort(fd);
      const sibling = addon.sibling(fd, 16);
      assert.ok(sibling >= 0, String(sibling));
      t.after(() => addon.close(sibling));
      addon.shutdownRead(fd);
      const client = connect((server.address() as { port: number }).port, '127.0.0.1');
      t.after(() => client.destroy());
      const outcome = await Promise.race([
        once(client, 'connect').then(() => 'connected'),
        once(client, 'error').then(() => 'refused'),
      ]).catch(() => 'refused');
      assert.equal(outcome, ipv6Only ? 'refused' : 'connected');
      assert.equal(addon.isCloseOnExec(sibling), 1);
    }
  });

  test("a listener of libuv's stands by without spinning, and serves again", async (t) => {
    const server = createServer((socket) => void socket.end('hello'));
    t.after(() => server.close());
    // not port 0: shutdown() gives up a port that the kernel has chosen (net/ipv4/tcp.c, tcp_disconnect)
    const port = await freePort('127.0.0.1');
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const hello = async () => {
      const client = connect(port, '127.0.0.1');
      t.after(() => client.destroy());
      return String((await once(client, 'data', { signal: AbortSignal.timeout(15_000) }))[0]);
    };
    assert.equal(await hello(), 'hello');
    addon.shutdownRead(fd);
    assert.equal(addon.pollDelete(fd), 0);
    assert.equal(addon.pollDelete(fd), -ENOENT);
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 100_000, `${user + system} us of CPU in 200 ms`);
    assert.equal(addon.listen(fd, 64), 0);
    assert.equal(addon.pollAdd(fd), 0);
    assert.equal(await hello(), 'hello');
  });

  test('accept on an empty queue is EAGAIN, the queue has a length', async (t) => {
    const { port, sockets } = await group(t, 1);
    const [socket] = sockets as [number];
    assert.equal(addon.accept(socket), -EAGAIN);
    await dial(t, port, 3);
    assert.equal(addon.queueLength(socket), 3);
    assert.equal(acceptAll(socket), 3);
    assert.equal(addon.queueLength(socket), 0);
  });

  test('a socket that is shut leaves the group and comes back by listen()', async (t) => {
    const { port, sockets } = await group(t, 2);
    const [first, second] = sockets as [number, number];
    assert.equal(addon.shutdownRead(first), 0);
    await dial(t, port, 20);
    assert.deepEqual([acceptAll(first), acceptAll(second)], [0, 20]);
    assert.equal(addon.listen(first, 64), 0);
    await dial(t, port, 60);
    const served = [acceptAll(first), acceptAll(second)];
    assert.equal((served[0] as number) + (served[1] as number), 60);
    assert.ok((served[0] as number) > 0, `${served}`);
  });

  test('a SYN filter keeps new handshakes out, what is queued stays', async (t) => {
    const { port, sockets } = await group(t, 1);
    const [socket] = sockets as [number];
    await dial(t, port, 4);
    assert.equal(addon.dropSyn(socket), 0);
    const late = connect(port, '127.0.0.1');
    t.after(() => late.destroy());
    let connected = false;
    late.on('connect', () => {
      connected = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(connected, false);
    assert.equal(acceptAll(socket), 4, 'drained');
    assert.equal(addon.accept(socket), -EAGAIN);
    assert.equal(addon.keepSyn(socket), 0);
    assert.equal(addon.keepSyn(socket), 0, 'twice is no error');
    await once(late, 'connect');
    assert.equal(acceptAll(socket), 1);
  });

  test('a connection that it accepts has no TCP_NODELAY that nobody has asked for', {
    skip: noLookInto,
  }, async (t) => {
    const { handle, port } = await listening(t);
    await until(() => addon.pollDelete(handle.fd) === 0, 'Node to accept nothing');
    handle.setNoDelay(true);
    await dial(t, port, 1);
    const child = addon.accept(handle.fd);
    t.after(() => addon.close(child));
    assert.deepEqual(noDelayOf(process.pid, [handle.fd, child]), [true, false]);
  });

  test('the CPU of a connection', async (t) => {
    const { port, sockets } = await group(t, 1);
    await dial(t, port, 1);
    const fd = addon.accept(sockets[0] as number);
    t.after(() => addon.close(fd));
    const cpus = addon.getAffinity(0) as number[];
    assert.ok(addon.incomingCpu(fd) >= 0 && addon.incomingCpu(fd) <= Math.max(...cpus));
  });
});

describe('errors are numbers', () => {
  test('for descriptors that are none, or no sockets', () => {
    for (const call of [
      addon.reusePort,
      addon.accept,
      addon.dropSyn,
      addon.incomingCpu,
      addon.shutdownRead,
      addon.dup,
    ]) {
      assert.equal(call(1_000_000), -EBADF, call.name);
    }
    const nothing = addon.openFds();
    assert.ok(Array.isArray(nothing) && nothing.includes(0));
    assert.equal(addon.sibling(0, 1) < 0, true);
    const [a, b] = addon.pair() as [number, number];
    assert.equal(addon.attachProgram(a, new Uint8Array(8)) < 0, true);
    addon.close(a);
    addon.close(b);
    assert.ok([-ENOTSOCK, -EINVAL].includes(addon.accept(1)) || addon.accept(1) < 0);
  });

  test('and wrong types are TypeErrors', () => {
    const loose = addon as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const bad of [undefined, '1', 1.5, Number.NaN, {}, 2 ** 40]) {
      assert.throws(() => loose['accept']?.(bad), TypeError, String(bad));
    }
    assert.throws(() => loose['attachProgram']?.(1, 'x'), TypeError);
    assert.throws(() => loose['send']?.(1, 1, []), TypeError);
    assert.throws(() => loose['guard']?.([1], [1]), TypeError);
  });

  test('a program that is no whole number of instructions is refused', async (t) => {
    const { sockets } = await group(t, 1);
    for (const length of [0, 7, 9])
      assert.ok(addon.attachProgram(sockets[0] as number, new Uint8Array(length)) < 0);
  });
});

test("a port that may be shared is one listener's own again", async (t) => {
  for (const again of [false, true]) {
    const { handle, port } = await listening(t, '127.0.0.1');
    assert.equal(addon.reusePort(handle.fd), 0);
    if (again) assert.equal(addon.unsharePort(handle.fd), 0);
    const fd = addon.bindShared(4, '127.0.0.1', port, 0);
    if (!again) assert.ok(fd >= 0, `shared: ${fd}`);
    else assert.equal(fd, -98, 'EADDRINUSE');
    if (fd >= 0) addon.close(fd);
  }
});
