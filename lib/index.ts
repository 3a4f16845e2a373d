// SPDX-License-Identifier: Apache-2.0
import { currentState } from './state';

/** True in a worker, and in the origin once its app runs in workers too. */
export function active(): boolean {
  return currentState()?.active ?? false;
}

/** The CPU that this worker's event loop is pinned to; undefined in the origin and in unpinned workers. */
export function core(): number | undefined {
  return currentState()?.core;
}

/** In the origin: the number of workers that live now. In a worker: the number of workers there should be. Else 0. */
export function workers(): number {
  return currentState()?.workers() ?? 0;
}

/** Why the app runs as plain Node, or what had to be left out; undefined when all is well. */
export function reason(): string | undefined {
  const state = currentState();
  return state ? state.reason : 'fastsocket/register is not loaded in this process';
}
