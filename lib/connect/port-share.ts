// SPDX-License-Identifier: Apache-2.0
// Which source ports a worker's connections take first.

const PORTS = 65_536;

/** ROUND_UP_POWER_OF_2(n) of the Fastsocket paper (ASPLOS 2016, section 3.3). */
export function portGroups(workers: number): number {
  let groups = 1;
  while (groups < workers && groups < PORTS) groups *= 2;
  return groups;
}

/**
 * The ports with hash(p) = p & (ROUND_UP_POWER_OF_2(n) - 1) equal to `index` (ASPLOS 2016, section 3.3): one bit for each of
 * the 65,536 ports, the first in the lowest bit of the first byte. Workers that keep to their own do not meet.
 * @param index 0 to workers - 1; a larger one wraps around
 */
export function portShare(workers: number, index: number): Uint8Array {
  const mask = new Uint8Array(PORTS / 8);
  const groups = portGroups(workers);
  for (let port = index % groups; port < PORTS; port += groups) {
    const at = port >> 3;
    mask[at] = (mask[at] ?? 0) | (1 << (port & 7));
  }
  return mask;
}
