// SPDX-License-Identifier: Apache-2.0

export const FIRST_DELAY_MS = 100;
export const LONGEST_DELAY_MS = 10_000;
/** A worker that has served this long is forgiven its predecessors (reliability: systemd's start limit, PM2's 16 restarts). */
export const FORGIVEN_AFTER_MS = 10_000;

/**
 * How long to wait before the n-th replacement in a row: 0 for the first, then 100 ms doubling up to 10 s.
 * @param deaths deaths in a row, 1 for the first
 */
export function respawnDelay(deaths: number): number {
  if (deaths <= 1) return 0;
  return Math.min(FIRST_DELAY_MS * 2 ** (deaths - 2), LONGEST_DELAY_MS);
}

/** Deaths in a row after a worker that served for `servedMs` (0 when it never served) has died. */
export function countDeath(deathsBefore: number, servedMs: number): number {
  return servedMs >= FORGIVEN_AFTER_MS ? 1 : deathsBefore + 1;
}
