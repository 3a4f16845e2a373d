// SPDX-License-Identifier: Apache-2.0
// What a proxy's processes say. Pure.

export interface ProcessReport {
  pid: number;
  /** Since it started. */
  accepted: number;
  /** By how much the event loop was late, 99 of 100 times at most, since the last report. */
  delayMs?: number;
}

export interface Together {
  /** Processes that have accepted connections. */
  serving: number;
  /** Of the one that was latest. */
  delayMs: number;
}

/** Between two reports of the same processes. */
export function together(before: readonly ProcessReport[], after: readonly ProcessReport[]): Together {
  const earlier = new Map(before.map(({ pid, accepted }) => [pid, accepted]));
  const serving = after.filter(({ pid, accepted }) => accepted > (earlier.get(pid) ?? 0));
  return { serving: serving.length, delayMs: Math.max(0, ...after.map(({ delayMs = 0 }) => delayMs)) };
}
