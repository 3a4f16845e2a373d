// SPDX-License-Identifier: Apache-2.0
// Clients of fixtures/seam-neighbours.js, which tells each connection who has it.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { noDelayOf } from './no-delay';

const HOST = '127.0.0.1';

export interface Told {
  pid: number;
  fd: number;
}

/** Connects in groups, as clients do, and stays connected until the end of the test. */
export async function clients(t: TestContext, { port }: { port: number }, count: number): Promise<Told[]> {
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const told: Promise<Told>[] = [];
  for (let i = 0; i < count; i++) {
    // how it ends is of no interest
    const socket = connect(port, HOST).on('error', () => {});
    sockets.push(socket);
    told.push(
      once(socket, 'data').then(([data]) => {
        const [pid, fd] = String(data).split(' ').map(Number) as [number, number];
        return { pid, fd };
      }),
    );
    if (i % 4 === 3) await sleep(4);
  }
  return Promise.all(told);
}

/** How many of these connections have TCP_NODELAY on and off. */
export function noDelays(all: readonly Told[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const pid of new Set(all.map((one) => one.pid))) {
    const fds = all.filter((one) => one.pid === pid).map(({ fd }) => fd);
    for (const value of noDelayOf(pid, fds))
      counts[value ? 'on' : 'off'] = (counts[value ? 'on' : 'off'] ?? 0) + 1;
  }
  return counts;
}
