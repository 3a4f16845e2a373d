// SPDX-License-Identifier: Apache-2.0
import { fixAvailableParallelism } from '../hook/node';
import { debug } from '../log';
import type { Addon } from '../native/addon';

/** Native addons start threads at their first use, from the pinned thread: looked for soon, then now and then. */
const SWEEPS_MS = [50, 250, 1_000];
const SWEEP_EVERY_MS = 2_000;

/**
 * Pins the event loop's thread, and it alone. libuv's pool threads are made first, because a thread inherits the mask of
 * its maker (pthread_create(3)); a child process gets the original mask in the addon's pthread_atfork handler.
 * @returns whether it could be pinned
 */
export function pinEventLoop(addon: Addon, core: number): boolean {
  const os = require('node:os') as typeof import('node:os');
  const parallelism = os.availableParallelism();
  addon.startThreadPool();
  const error = addon.pinEventLoop(core);
  if (error < 0) {
    debug('not pinned to CPU %d (errno %d)', core, -error);
    return false;
  }
  fixAvailableParallelism(parallelism);
  for (const ms of SWEEPS_MS) setTimeout(() => addon.sweepThreads(), ms).unref();
  setInterval(() => addon.sweepThreads(), SWEEP_EVERY_MS).unref();
  return true;
}
