// SPDX-License-Identifier: Apache-2.0

/** Sockets that a group of the app's own workers has at least, beside the primary's. */
const LEAST_SEATS = 8;
/** native/balance/page.h, kMostSeats. */
export const MOST_SEATS = 1_024;

/**
 * How many sockets a group has for the app's own workers: twice what there may be, for an app that replaces its workers
 * starts new ones before the old ones have ended.
 * @param workers that live now
 */
export function seatCount(workers: number, cpus: number): number {
  return Math.min(MOST_SEATS, Math.max(LEAST_SEATS, 2 * workers, 2 * cpus));
}

/** Numbers for worker processes, the same in all groups; the lowest that is free. */
export class Seats {
  private readonly taken = new Set<number>();

  /** @param first the lowest of all */
  constructor(private readonly first = 1) {}

  take(): number {
    let index = this.first;
    while (this.taken.has(index)) index++;
    this.taken.add(index);
    return index;
  }

  free(index: number): void {
    this.taken.delete(index);
  }
}
