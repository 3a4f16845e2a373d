// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addonFile } from '../lib/addon';
import type { Place } from '../lib/place';
import { hook } from '../lib/root';
import { Server } from '../lib/server';
import { environment } from '../lib/variants';

const SERVER = join(__dirname, 'server.js');
/** Time for the server to notice the last ends. */
const SETTLE_MS = 500;
const PATIENCE_MS = 10_000;

/** What a server holds when nobody is connected. */
export interface Held {
  /** Open descriptors. */
  fds: number;
  /** Entries of the handle cache. */
  known: number;
  /** Connections held back from epoll. */
  held: number;
  accepted: number;
  rss: number;
  heapUsed: number;
}

export function soakServer(place: Place, node: string, port: number, hooked: boolean): Promise<Server> {
  const env = hooked ? { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', ADDON: addonFile() } : {};
  const words = [node, '--expose-gc', ...(hooked ? ['-r', hook] : []), SERVER];
  return Server.start(place, { words, env: environment(port, env), port });
}

/** Asks the server; it tells after a full collection. */
export async function heldBy(server: Server): Promise<Held> {
  await sleep(SETTLE_MS);
  const count = () => server.stderr.match(/^holds .*$/gm) ?? [];
  const before = count().length;
  process.kill(server.pid, 'SIGUSR2');
  for (const end = performance.now() + PATIENCE_MS; count().length === before; await sleep(20))
    if (performance.now() > end) throw new Error(`the server does not answer\n${server.stderr}`);
  return JSON.parse((count().at(-1) as string).slice('holds '.length)) as Held;
}
