// SPDX-License-Identifier: Apache-2.0
// fixtures/balance-app.js, and what its origin knows of its workers.
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { addonPath } from './addon';
import { type App, type AppOptions, fixture, freePort, multiplied, startApp, until } from './app';

export const HOST = '127.0.0.1';

export interface Tree {
  app: App;
  port: number;
  workers: number[];
}

export async function start(
  t: TestContext,
  options: AppOptions = {},
  workers = 2,
  name = 'balance-app.js',
): Promise<Tree> {
  const port = await freePort(HOST);
  const { env, ...others } = options;
  const app = startApp(fixture(name), {
    port,
    ...others,
    env: { FASTSOCKET_WORKERS: String(workers), ADDON: addonPath(), ...env },
  });
  t.after(() => app.stop());
  return { app, port, workers: await multiplied(app, workers, HOST) };
}

/** Far longer than any test takes: who waited for the block to end has not been served by anybody else. */
const BLOCK_MS = 60_000;

/** Blocks one of the workers, and says which when it is. */
export async function block({ app, port }: Pick<Tree, 'app' | 'port'>, ms = BLOCK_MS): Promise<number> {
  const seen = app.stdout.length;
  const socket = connect(port, HOST, () => socket.write(`GET /block?${ms} HTTP/1.1\r\nHost: x\r\n\r\n`));
  socket.on('error', () => {});
  const [, pid] = await until(() => /^blocks (\d+)$/m.exec(app.stdout.slice(seen)), 'a blocked worker');
  return Number(pid);
}

/** By worker, the first is worker 1. */
export interface Seat {
  joined: number;
  accepted: number;
  /** From a sibling's queue, and by siblings from its own. */
  stolen: number;
  taken: number;
  open: number;
  declined: number;
  /** Connections by where their packets arrived; estimated, but exact of the first 2,000. */
  local: number;
  remote: number;
  /** By the kernel, for want of room in its queues. */
  drops: number;
}

export interface Figures {
  looks: number;
  rests: number;
  woken: number;
  blocked: number;
  offers: number;
  swaps: number;
  threadNs: number;
  seats: Seat[];
}

/** What the origin knows (Addon.balanceFigures). */
export async function figures({ app }: Pick<Tree, 'app'>): Promise<Figures> {
  const seen = app.stdout.length;
  process.kill(app.pid, 'SIGUSR2');
  const line = await until(() => /^\[.*\]$/m.exec(app.stdout.slice(seen))?.[0], 'figures');
  const [looks, rests, woken, blocked, offers, swaps, threadNs, ...rows] = JSON.parse(line) as number[];
  const seats = [];
  for (let i = 0; i + 11 <= rows.length; i += 11) {
    const [joined, , accepted, stolen, open, , declined, taken, local, remote, drops] = rows.slice(i, i + 11);
    seats.push({ joined, accepted, stolen, taken, open, declined, local, remote, drops });
  }
  return { looks, rests, woken, blocked, offers, swaps, threadNs, seats } as Figures;
}

export const stolen = ({ seats }: Figures): number => seats.reduce((sum, seat) => sum + seat.stolen, 0);
