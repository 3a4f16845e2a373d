// SPDX-License-Identifier: Apache-2.0
import { MAX_WORKERS, type Settings } from '../config/settings';
import { type CountInput, workerCount } from './count';

/**
 * Whether the number of workers may follow the limits while the app serves. One that somebody has asked for stays; so does
 * any number where a client's address chooses among them all: most clients would meet another worker.
 */
export function followsLimits({ workers, steer }: Pick<Settings, 'workers' | 'steer'>): boolean {
  return workers.kind !== 'count' && steer !== 'ip';
}

/**
 * How many workers there would be by these limits if the app were started now. Its size stays what it was at its first
 * listen(): what it has grown by since, copies weigh already or will.
 */
export function roomFor(input: CountInput): number {
  return Math.min(MAX_WORKERS, workerCount(input).count);
}
