// SPDX-License-Identifier: Apache-2.0

import {
  type GroupMount,
  type GroupPath,
  groupDirectories,
  parseGroupMounts,
  parseGroupPaths,
} from './cgroup-paths';
import type { ReadText } from './read';

export interface Limits {
  /** CPUs' worth of time that the quota allows (1.5 = 150 ms each 100 ms); undefined if there is no quota. */
  readonly cpus?: number;
  /** Bytes of memory; undefined if there is no limit. */
  readonly memoryBytes?: number;
  /** Where each limit was found, for the log. */
  readonly detail: string;
}

interface Found {
  readonly value: number;
  readonly file: string;
}

/** The period where cpu.max names none: Documentation/admin-guide/cgroup-v2.rst, "cpu.max". */
const DEFAULT_PERIOD_US = 100_000;

/**
 * v1 has no word for "no limit": an unlimited group shows PAGE_COUNTER_MAX pages in bytes
 * (include/linux/page_counter.h), 0x7ffffffffffff000 with pages of 4 KiB, less with larger ones.
 */
const UNLIMITED_BYTES = 2 ** 60;

function number(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  return /^-?\d+$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** v2: `MAX [PERIOD]`, MAX in microseconds or `max`. */
function quotaV2(read: ReadText, directory: string): Found | undefined {
  const file = `${directory}/cpu.max`;
  const [max, period] = (read(file) ?? '').trim().split(/\s+/);
  const maxUs = number(max);
  const periodUs = number(period) ?? DEFAULT_PERIOD_US;
  return maxUs !== undefined && maxUs > 0 && periodUs > 0 ? { value: maxUs / periodUs, file } : undefined;
}

/** v1: quota in microseconds a period, -1 for none (Documentation/scheduler/sched-bwc.rst). */
function quotaV1(read: ReadText, directory: string): Found | undefined {
  const file = `${directory}/cpu.cfs_quota_us`;
  const quotaUs = number(read(file));
  if (quotaUs === undefined || quotaUs <= 0) return undefined;
  const periodUs = number(read(`${directory}/cpu.cfs_period_us`));
  return periodUs !== undefined && periodUs > 0 ? { value: quotaUs / periodUs, file } : undefined;
}

function bytes(text: string | undefined, file: string): Found | undefined {
  const value = number(text);
  return value !== undefined && value > 0 && value < UNLIMITED_BYTES ? { value, file } : undefined;
}

/** v2: memory.max, bytes or `max`. memory.high throttles, it does not kill; it is no bound here. */
function memoryV2(read: ReadText, directory: string): Found | undefined {
  return bytes(read(`${directory}/memory.max`), `${directory}/memory.max`);
}

/**
 * v1: the group's own limit, and the smallest on its way up, which memory.stat also knows for
 * ancestors above the mount (Documentation/admin-guide/cgroup-v1/memory.rst, section 5.2).
 */
function memoryV1(read: ReadText, directory: string): Found | undefined {
  const own = bytes(read(`${directory}/memory.limit_in_bytes`), `${directory}/memory.limit_in_bytes`);
  const line = /^hierarchical_memory_limit (\d+)$/m.exec(read(`${directory}/memory.stat`) ?? '');
  return smaller(own, bytes(line?.[1], `${directory}/memory.stat`));
}

function smaller(a: Found | undefined, b: Found | undefined): Found | undefined {
  if (!a || !b) return a ?? b;
  return b.value < a.value ? b : a;
}

/** The smallest limit over all directories of the groups that hold the controller, v1 and v2 alike. */
function smallest(
  groups: readonly GroupPath[],
  mounts: readonly GroupMount[],
  controller: string,
  v1: (directory: string) => Found | undefined,
  v2: (directory: string) => Found | undefined,
): Found | undefined {
  let found: Found | undefined;
  for (const group of groups) {
    if (!group.unified && !group.controllers.includes(controller)) continue;
    for (const directory of groupDirectories(group, mounts)) {
      found = smaller(found, group.unified ? v2(directory) : v1(directory));
    }
  }
  return found;
}

/**
 * The CPU quota and the memory limit that the process's control groups put on it: the smallest on the
 * whole path from its own group to the root of the mount, because a child may name more than its
 * parent grants (cgroup-v2.rst, "Limits": over-commitment is allowed). v1, v2, and hybrid set-ups,
 * where a controller is in one of the two, come out by asking both. Limits above a cgroup namespace's
 * root cannot be seen from inside. Never throws: what cannot be read is no limit.
 */
export function readLimits(read: ReadText): Limits {
  const groups = parseGroupPaths(read('/proc/self/cgroup') ?? '');
  const mounts = parseGroupMounts(read('/proc/self/mountinfo') ?? '');
  const cpu = smallest(
    groups,
    mounts,
    'cpu',
    (d) => quotaV1(read, d),
    (d) => quotaV2(read, d),
  );
  const memory = smallest(
    groups,
    mounts,
    'memory',
    (d) => memoryV1(read, d),
    (d) => memoryV2(read, d),
  );
  const parts = [
    cpu ? `quota ${cpu.value} CPUs (${cpu.file})` : 'no CPU quota',
    memory ? `memory limit ${memory.value} bytes (${memory.file})` : 'no memory limit',
  ];
  return {
    ...(cpu && { cpus: cpu.value }),
    ...(memory && { memoryBytes: memory.value }),
    detail: parts.join(', '),
  };
}
