// SPDX-License-Identifier: Apache-2.0
// Real reuseport groups in the test's own process.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Addon } from '../../lib/native/addon';
import { loadAddon } from '../../lib/native/load';
import type { Program } from '../../lib/steering/bpf';
import { encode } from '../../lib/steering/program';

const loaded = process.platform === 'linux' ? loadAddon() : { reason: 'not Linux' };
export const addon = loaded.addon as Addon;
/** Why no group can be made here, false where one can. */
export const skip = loaded.addon ? false : `the addon cannot be loaded: ${loaded.reason}`;

interface Handle {
  readonly fd: number;
  bind(address: string, port: number): number;
  getsockname(out: { port?: number }): number;
  close(): void;
}

export interface Group {
  readonly port: number;
  readonly fds: readonly number[];
}

/** A group of `size` listening sockets on every address; they are closed when the test ends. */
export function group(t: TestContext, size: number): Group {
  // @ts-expect-error process.binding is not typed
  const { TCP, constants } = process.binding('tcp_wrap');
  const first: Handle = new TCP(constants.SERVER);
  assert.equal(first.bind('0.0.0.0', 0), 0);
  const name: { port?: number } = {};
  first.getsockname(name);
  assert.equal(addon.reusePort(first.fd), 0);
  assert.equal(addon.listen(first.fd, 256), 0);
  const fds = [first.fd];
  t.after(() => {
    for (const fd of fds.slice(1)) addon.close(fd);
    first.close();
  });
  for (let i = 1; i < size; i++) {
    const fd = addon.sibling(first.fd, 256);
    assert.ok(fd > 0, `sibling ${i}: ${fd}`);
    fds.push(fd);
  }
  return { port: name.port as number, fds };
}

export function attach({ fds }: Group, program: Program): void {
  assert.equal(addon.attachProgram(fds[0] as number, encode(program)), 0);
}

/** Counts `n` connections by the socket that they wait at, and takes them. The last ACK may come a moment after the client's 'connect'. */
async function drain({ fds }: Group, n: number, counts: Map<number, number>): Promise<void> {
  const deadline = Date.now() + 5000;
  for (let left = n; left > 0; ) {
    fds.forEach((fd, index) => {
      for (let child = addon.accept(fd); child >= 0; child = addon.accept(fd), left--) {
        addon.close(child);
        counts.set(index, (counts.get(index) ?? 0) + 1);
      }
    });
    assert.ok(Date.now() < deadline, `${left} of ${n} connections came to no socket`);
    if (left > 0) await delay(1);
  }
}

/** Which sockets `n` connections from this address go to. */
export async function observe(
  target: Group,
  n: number,
  localAddress = '127.0.0.1',
): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (let left = n; left > 0; left -= 100) {
    const clients: Socket[] = [];
    for (let i = 0; i < Math.min(left, 100); i++)
      clients.push(connect({ port: target.port, host: '127.0.0.1', localAddress }));
    await Promise.all(clients.map((client) => once(client, 'connect')));
    await drain(target, clients.length, counts);
    for (const client of clients) client.destroy();
  }
  return counts;
}
