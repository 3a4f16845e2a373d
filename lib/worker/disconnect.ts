// SPDX-License-Identifier: Apache-2.0
import type { Cluster } from 'node:cluster';
import { debug } from '../log';

/** How long what is no connection (a timer, a database's) keeps a worker alive that has disconnected: another one is to follow. */
const STAYS_MS = 10_000;

/** The app's worker.disconnect() in the origin: as Node's own says it in a worker (lib/internal/cluster/child.js, _disconnect). */
export function beginDisconnect(): void {
  const { worker } = require('node:cluster') as Cluster;
  if (worker) worker.exitedAfterDisconnect = true;
}

/** Its servers have closed, and their connections have ended: it ends when it has nothing more to do. */
export function disconnect(): void {
  if (process.connected) process.disconnect();
  setTimeout(() => {
    debug('it has disconnected, and something keeps it for more than %d ms', STAYS_MS);
    process.exit(0);
  }, STAYS_MS).unref();
}
