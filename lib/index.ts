// SPDX-License-Identifier: Apache-2.0
import { currentState } from './state';

/** Where connections of this thread go to, as far as the seam chooses their source ports. Counts, since it is known. */
export interface Destination {
  address: string;
  port: number;
  /** Where the app has named one. */
  localAddress: string | undefined;
  /** Source ports of connections that are open. */
  inUse: number;
  /** Source ports that are not tried now: in TIME_WAIT, or another program's. */
  resting: number;
  /** Connections whose port the seam has chosen. */
  chosen: number;
  /** Connections whose port was left to the kernel, because none was known to be free. */
  byKernel: number;
  /** Ports that were tried and found taken. */
  retries: number;
  /** Share of ended connections whose packets came to the CPU that this worker is pinned to; undefined where unknown. */
  local: number | undefined;
  /** Which ports are tried first: those of the XDP program's hash, the card's hash, experience; or any. And why. */
  mode: 'rfd' | 'rss' | 'learn' | 'any';
  why: string;
}

/** True in a worker, and in the origin once its app runs in workers too. */
export function active(): boolean {
  return currentState()?.active ?? false;
}

/** The CPU that this worker's event loop is pinned to; undefined in the origin and in unpinned workers. */
export function core(): number | undefined {
  return currentState()?.core;
}

/** In the origin: the number of workers that live now. In a worker: the number of workers there are to be, which may change. Else 0. */
export function workers(): number {
  return currentState()?.workers() ?? 0;
}

/** Why the app runs as plain Node, or what had to be left out; undefined when all is well. */
export function reason(): string | undefined {
  const state = currentState();
  return state ? state.reason : 'fastsocket/register is not loaded in this process';
}

/**
 * Where this thread's connections go to, as far as the seam chooses their source ports: one entry for each remote address
 * and port, and local address that the app has named. At most 256; the idle ones are forgotten first.
 */
export function destinations(): Destination[] {
  return (currentState()?.destinations() ?? []) as Destination[];
}
