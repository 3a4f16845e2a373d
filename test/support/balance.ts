// SPDX-License-Identifier: Apache-2.0
// fixtures/balance-app.js, and what its origin knows of its workers.
import type { TestContext } from 'node:test';
import { addonPath } from './addon';
import { type App, type AppOptions, fixture, freePort, multiplied, startApp, until } from './app';

export const HOST = '127.0.0.1';

export interface Tree {
  app: App;
  port: number;
  workers: number[];
}

export async function start(t: TestContext, options: AppOptions = {}, workers = 2): Promise<Tree> {
  const port = await freePort(HOST);
  const { env, ...others } = options;
  const app = startApp(fixture('balance-app.js'), {
    port,
    ...others,
    env: { FASTSOCKET_WORKERS: String(workers), ADDON: addonPath(), ...env },
  });
  t.after(() => app.stop());
  return { app, port, workers: await multiplied(app, workers, HOST) };
}

export interface Figures {
  looks: number;
  rests: number;
  blocked: number;
  offers: number;
  swaps: number;
  threadNs: number;
  seats: {
    joined: number;
    accepted: number;
    stolen: number;
    open: number;
    declined: number;
  }[];
}

/** What the origin knows (Addon.balanceFigures). */
export async function figures({ app }: Pick<Tree, 'app'>): Promise<Figures> {
  const seen = app.stdout.length;
  process.kill(app.pid, 'SIGUSR2');
  const line = await until(() => /^\[.*\]$/m.exec(app.stdout.slice(seen))?.[0], 'figures');
  const [looks, rests, blocked, offers, swaps, threadNs, ...rows] = JSON.parse(line) as number[];
  const seats = [];
  for (let i = 0; i + 7 <= rows.length; i += 7) {
    const [joined, , accepted, stolen, open, , declined] = rows.slice(i, i + 7);
    seats.push({ joined, accepted, stolen, open, declined });
  }
  return { looks, rests, blocked, offers, swaps, threadNs, seats } as Figures;
}

export const stolen = ({ seats }: Figures): number => seats.reduce((sum, seat) => sum + seat.stolen, 0);
