// SPDX-License-Identifier: Apache-2.0

import { groupDirectories, parseGroupMounts, parseGroupPaths } from './cgroup-paths';
import type { ReadText } from './read';

export interface Limits {
  /** CPUs' worth of time that the quota allows (1.5 = 150 ms each 100 ms); undefined if there is no quota. */
  readonly cpus?: number;
  /** Bytes of memory; undefined if there is no limit. */
  readonly memoryBytes?: number;
  /** The memory limit where it stands above the mount: it is not seen again. */
  readonly above?: Found;
  /** Where each limit was found, for the log. */
  readonly detail: string;
}

/** A limit, and the file that names it. */
export interface Found {
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

function memoryV1(read: ReadText, directory: string): Found | undefined {
  return bytes(read(`${directory}/memory.limit_in_bytes`), `${directory}/memory.limit_in_bytes`);
}

/**
 * v1: the smallest limit on a group's way up, which memory.stat also knows for ancestors above the mount
 * (Documentation/admin-guide/cgroup-v1/memory.rst, section 5.2). The kernel sums up much for that file, which takes it
 * seconds where many groups have been (mm/memcontrol-v1.c, memcg1_stat_format): it is read once, at the first listen().
 */
function memoryAbove(read: ReadText, { directory, unified }: LimitPlace): Found | undefined {
  if (unified) return undefined;
  const file = `${directory}/memory.stat`;
  const line = /^hierarchical_memory_limit (\d+)$/m.exec(read(file) ?? '');
  return bytes(line?.[1], file);
}

function smaller(a: Found | undefined, b: Found | undefined): Found | undefined {
  if (!a || !b) return a ?? b;
  return b.value < a.value ? b : a;
}

function smallest(
  places: readonly LimitPlace[],
  find: (place: LimitPlace) => Found | undefined,
): Found | undefined {
  return places.reduce<Found | undefined>((found, place) => smaller(found, find(place)), undefined);
}

/** A directory that may name limits. */
export interface LimitPlace {
  readonly unified: boolean;
  readonly directory: string;
}

/** Where the limits of the process stand. */
export interface LimitPlaces {
  readonly cpu: readonly LimitPlace[];
  readonly memory: readonly LimitPlace[];
}

/**
 * All directories of the groups that hold a controller, v1 and v2 alike.
 * @param cgroup what stands in /proc/self/cgroup
 * @param mountinfo what stands in /proc/self/mountinfo
 */
export function limitPlaces(cgroup: string, mountinfo: string): LimitPlaces {
  const groups = parseGroupPaths(cgroup);
  const mounts = parseGroupMounts(mountinfo);
  const holding = (controller: string): LimitPlace[] =>
    groups
      .filter(({ unified, controllers }) => unified || controllers.includes(controller))
      .flatMap((group) =>
        groupDirectories(group, mounts).map((directory) => ({ unified: group.unified, directory })),
      );
  return { cpu: holding('cpu'), memory: holding('memory') };
}

/** The smallest limits that stand in these places. What cannot be read is no limit. */
export function limitsIn(read: ReadText, places: LimitPlaces, above?: Found): Limits {
  const cpu = smallest(places.cpu, ({ unified, directory }) =>
    unified ? quotaV2(read, directory) : quotaV1(read, directory),
  );
  const own = smallest(places.memory, ({ unified, directory }) =>
    unified ? memoryV2(read, directory) : memoryV1(read, directory),
  );
  const memory = smaller(own, above);
  const parts = [
    cpu ? `quota ${cpu.value} CPUs (${cpu.file})` : 'no CPU quota',
    memory ? `memory limit ${memory.value} bytes (${memory.file})` : 'no memory limit',
  ];
  return {
    ...(cpu && { cpus: cpu.value }),
    ...(memory && { memoryBytes: memory.value }),
    ...(memory && memory !== own && { above: memory }),
    detail: parts.join(', '),
  };
}

/**
 * The CPU quota and the memory limit that the process's control groups put on it: the smallest on the
 * whole path from its own group to the root of the mount, because a child may name more than its
 * parent grants (cgroup-v2.rst, "Limits": over-commitment is allowed). v1, v2, and hybrid set-ups,
 * where a controller is in one of the two, come out by asking both. Limits above a cgroup namespace's
 * root cannot be seen from inside. Never throws: what cannot be read is no limit.
 */
export function readLimits(read: ReadText): Limits {
  const places = limitPlaces(read('/proc/self/cgroup') ?? '', read('/proc/self/mountinfo') ?? '');
  return limitsIn(
    read,
    places,
    smallest(places.memory, (place) => memoryAbove(read, place)),
  );
}
