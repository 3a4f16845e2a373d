// SPDX-License-Identifier: Apache-2.0

import type { Topology } from './topology';

/**
 * The CPUs of an affinity mask in the order in which workers get them: one hardware thread of every
 * physical core first, node 0's cores, then node 1's, and so on; then the second threads in the same
 * order, then the third. Two threads of a core share its execution units and caches, so a second
 * one adds far less than another core does; and the cores of one node share memory and, mostly, the
 * network card.
 *
 * "First" thread means the lowest-numbered one *in the mask*. If the place of any CPU is unknown the
 * order is numeric: half an order would put siblings first by accident.
 */
export function coreOrder(topology: Topology, mask: readonly number[]): number[] {
  const cpus = [...new Set(mask)].sort((a, b) => a - b);
  const threadsSeen = new Map<string, number>();
  const placed: { cpu: number; node: number; thread: number }[] = [];
  for (const cpu of cpus) {
    const place = topology.get(cpu);
    if (!place) return cpus;
    const thread = threadsSeen.get(place.core) ?? 0;
    threadsSeen.set(place.core, thread + 1);
    placed.push({ cpu, node: place.node, thread });
  }
  placed.sort((a, b) => a.thread - b.thread || a.node - b.node || a.cpu - b.cpu);
  return placed.map(({ cpu }) => cpu);
}
