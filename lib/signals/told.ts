// SPDX-License-Identifier: Apache-2.0

/** A worker, as far as the end of the origin has to wait for it. */
export interface Ending {
  readonly process: { readonly pid?: number | undefined };
  /** When it first served. */
  servedAt?: number;
  /** When it was last told of a signal that usually ends a server. */
  toldAt?: number;
}

/** Processes to wait for, and until when at most, by performance.now(). */
export interface Wait {
  pids: number[];
  until: number;
}

/** A copy that has never served has handlers perhaps, but no request to finish; it may also be deaf until it has started. */
const STARTING_WAIT_MS = 1_000;

/** What is left of the time that a worker has for its end after it was told of a signal, in ms; 0 where it was not. */
export function graceMs({ toldAt }: Ending, waitMs: number, now = performance.now()): number {
  return toldAt === undefined ? 0 : Math.max(0, Math.ceil(toldAt + waitMs - now));
}

/** What an exit of the origin waits for: workers that were told of a signal, those that serve first. */
export function exitWaits(workers: readonly Ending[], exitWaitMs: number, now = performance.now()): Wait[] {
  const wait = (some: readonly Ending[], ms: number): Wait => {
    const left = some.map((worker) => graceMs(worker, ms, now));
    return {
      pids: some.flatMap(({ process }, i) => (left[i] ? (process.pid ?? []) : [])),
      until: now + Math.max(0, ...left),
    };
  };
  const served = workers.filter(({ servedAt }) => servedAt !== undefined);
  const starting = workers.filter(({ servedAt }) => servedAt === undefined);
  return [wait(served, exitWaitMs), wait(starting, Math.min(exitWaitMs, STARTING_WAIT_MS))].filter(
    ({ pids }) => pids.length > 0,
  );
}
