// SPDX-License-Identifier: Apache-2.0
import type { Cluster } from 'node:cluster';
import { debug } from '../log';

/** How long what is no connection (a timer, a database's) keeps a worker alive that has disconnected: another one is to follow. */
const STAYS_MS = 10_000;

/** The app's worker.disconnect() in the origin is as one in the worker itself, but that the process ends in any case. */
export function disconnect(): void {
  const { worker } = require('node:cluster') as Cluster;
  worker?.once('disconnect', () => {
    const end = () => {
      debug('it has disconnected, and something keeps it for more than %d ms', STAYS_MS);
      process.exit(0);
    };
    setTimeout(end, STAYS_MS).unref();
  });
  worker?.disconnect();
}
