// SPDX-License-Identifier: Apache-2.0

import { parseCpuList } from '../config/cpulist';
import type { ReadText } from './read';

export interface CpuPlace {
  readonly cpu: number;
  /** NUMA node; 0 where the kernel shows none. */
  readonly node: number;
  /** Equal for the SMT siblings of one physical core, different for different cores. */
  readonly core: string;
}

/** Places by CPU number. A CPU that is missing has an unknown place. */
export type Topology = ReadonlyMap<number, CpuPlace>;

function integer(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  return /^-?\d+$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** Node of each CPU, from /sys/devices/system/node (Documentation/ABI/stable/sysfs-devices-node). */
function readNodes(read: ReadText): Map<number, number> {
  const nodeOf = new Map<number, number>();
  for (const node of parseCpuList(read('/sys/devices/system/node/online') ?? '') ?? []) {
    // A node that has memory only has an empty list.
    for (const cpu of parseCpuList(read(`/sys/devices/system/node/node${node}/cpulist`) ?? '') ?? [])
      nodeOf.set(cpu, node);
  }
  return nodeOf;
}

/**
 * The core that a CPU is a hardware thread of. The siblings' list names it best. Where that is
 * missing: package and core number, because core_id is unique within a package only
 * (Documentation/ABI/stable/sysfs-devices-system-cpu).
 */
function readCore(read: ReadText, cpu: number): string | undefined {
  const directory = `/sys/devices/system/cpu/cpu${cpu}/topology`;
  const siblings = parseCpuList(read(`${directory}/thread_siblings_list`) ?? '');
  if (siblings?.includes(cpu)) return `threads ${siblings.join(',')}`;
  const core = integer(read(`${directory}/core_id`));
  const pack = integer(read(`${directory}/physical_package_id`));
  // -1 is what a kernel without the architecture's topology code shows for every CPU.
  if (core === undefined || core < 0) return undefined;
  return `package ${pack ?? 0} core ${core}`;
}

/** Places of these CPUs; those that sysfs says nothing about (hidden in some containers) are left out. */
export function readTopology(read: ReadText, cpus: readonly number[]): Topology {
  const nodeOf = readNodes(read);
  const places = new Map<number, CpuPlace>();
  for (const cpu of cpus) {
    const core = readCore(read, cpu);
    if (core !== undefined) places.set(cpu, { cpu, node: nodeOf.get(cpu) ?? 0, core });
  }
  return places;
}
