// SPDX-License-Identifier: Apache-2.0

/** Who has accepted the latest small batch of connections, and since when it has been the same processes. */
export interface Serving {
  pids: readonly number[];
  /** The process that was started is among them. */
  root: boolean;
  unchangedMs: number;
}

/** An app that cannot be multiplied says so after its canary; so long nobody waits who has workers. */
const SETTLED_MS = 1_500;
const GIVEN_UP_MS = 5_000;

/**
 * Whether a server has reached the state in which it stays: the expected number of processes serve, or others do and
 * have for a while (fewer workers by a CPU quota or a setting, or none where the hook found a reason).
 */
export function settled(serving: Serving, expected: { workers: number; rootServes: boolean }): boolean {
  const { pids, root, unchangedMs } = serving;
  if (pids.length === 0) return false;
  if (root === expected.rootServes && pids.length >= expected.workers) return true;
  return unchangedMs >= (root ? GIVEN_UP_MS : SETTLED_MS);
}
