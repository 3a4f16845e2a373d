// SPDX-License-Identifier: Apache-2.0

import { formatCpuList } from '../config/cpulist';
import type { Settings } from '../config/settings';

/** How many there are to be: by the settings, or so many as `why` says, for which nobody has asked. */
export type WantedWorkers =
  | Settings['workers']
  | { readonly kind: 'found'; readonly n: number; readonly why: string };

export interface CountInput {
  readonly settings: Pick<Settings, 'pin'> & { readonly workers: WantedWorkers };
  /** The affinity mask: the CPUs this process may run on. */
  readonly mask: readonly number[];
  /** Fractional CPUs of the cgroup quota; undefined: none. */
  readonly quotaCpus?: number | undefined;
  /** cgroup memory limit in bytes; undefined: none. */
  readonly memoryBytes?: number | undefined;
  /** The origin's resident size in bytes when it first listens; undefined or 0: not known. */
  readonly originRssBytes?: number | undefined;
}

export interface WorkerCount {
  /** Number of workers; 1 means that none is made: the origin serves alone. */
  readonly count: number;
  readonly pinAllowed: boolean;
  /** Why workers are not pinned; absent if they may be. */
  readonly unpinned?: string;
  /** The CPUs that workers are to be put on: the FASTSOCKET_PIN list or the mask; ascending. */
  readonly cpus: readonly number[];
  /** How many workers share a CPU, 1 at least. */
  readonly perCpu: number;
  /** The arithmetic, one line. */
  readonly why: string;
}

/** A copy of the app weighs this much of the origin, as a cautious guess: it grows once it serves. */
export const COPY_WEIGHT = 1.5;

const MIB = 1024 * 1024;
const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;

interface Pool {
  readonly cpus: readonly number[];
  /** The setting itself forbids pinning. */
  readonly unpinned?: string;
  readonly text: string;
}

/** Which CPUs count, by FASTSOCKET_PIN. */
function usableCpus(pin: Settings['pin'], mask: readonly number[]): Pool {
  const all = { cpus: mask, text: `${mask.length} CPUs in the mask (${formatCpuList(mask)})` };
  if (pin.kind === 'off') return { ...all, unpinned: 'FASTSOCKET_PIN=off' };
  if (pin.kind === 'auto') return all;
  const outside = pin.cpus.filter((cpu) => !mask.includes(cpu));
  if (outside.length > 0) {
    const named = `FASTSOCKET_PIN names CPUs outside the affinity mask (${formatCpuList(outside)} not in ${formatCpuList(mask)})`;
    return { ...all, unpinned: named };
  }
  return { cpus: pin.cpus, text: `${pin.cpus.length} CPUs in FASTSOCKET_PIN (${formatCpuList(pin.cpus)})` };
}

/** How many copies fit beside the origin: (limit - origin) / (1.5 * origin), at least 1. */
function memoryBound(memoryBytes: number, originBytes: number): number {
  return Math.max(1, Math.floor((memoryBytes - originBytes) / (COPY_WEIGHT * originBytes)));
}

function autoCount(input: CountInput, pool: Pool): { count: number; text: string } {
  const { quotaCpus, memoryBytes, originRssBytes } = input;
  const bounds = [pool.cpus.length];
  const texts = [pool.text];
  if (quotaCpus !== undefined) {
    bounds.push(Math.ceil(quotaCpus));
    texts.push(`quota ${quotaCpus} rounded up = ${Math.ceil(quotaCpus)}`);
  }
  if (memoryBytes !== undefined && originRssBytes) {
    const fit = memoryBound(memoryBytes, originRssBytes);
    bounds.push(fit);
    texts.push(
      `memory (${mib(memoryBytes)} - ${mib(originRssBytes)}) / (${COPY_WEIGHT} x ${mib(originRssBytes)}) = ${fit}`,
    );
  }
  const count = Math.max(1, Math.min(...bounds));
  return { count, text: `auto: least of ${texts.join(', ')} = ${count}` };
}

function wantedCount(input: CountInput, pool: Pool): { count: number; text: string } {
  const { workers } = input.settings;
  switch (workers.kind) {
    case 'auto':
      return autoCount(input, pool);
    case 'count':
      return { count: workers.n, text: `${workers.n} as asked for; ${pool.text}` };
    case 'found':
      return { count: workers.n, text: `${workers.n} ${workers.why}; ${pool.text}` };
    case 'percent': {
      const count = Math.max(1, Math.round((workers.p * input.mask.length) / 100));
      return { count, text: `${workers.p} % of ${input.mask.length} CPUs in the mask = ${count}` };
    }
  }
}

/** Envoy's rule: a pinned worker needs a CPU of its own, and a quota that lets all of them run at once. */
function whyUnpinned(count: number, pool: Pool, quotaCpus: number | undefined): string | undefined {
  if (pool.unpinned) return pool.unpinned;
  if (count > pool.cpus.length) return `${count} workers on ${pool.cpus.length} CPUs`;
  if (quotaCpus !== undefined && quotaCpus < count)
    return `a quota of ${quotaCpus} CPUs does not cover ${count} workers`;
  return undefined;
}

/** How many workers share a CPU, 1 at least. Where the mask could not be read, 0 CPUs, nothing is known. */
export function perCpu(workers: number, cpus: number): number {
  return Math.max(1, Math.ceil(workers / Math.max(1, cpus)));
}

/**
 * How many workers, and whether they may be pinned.
 *
 * auto: min(CPUs, quota rounded up, floor((memory limit - origin's size) / (1.5 x origin's size))), at
 * least 1, where CPUs is the mask, or the FASTSOCKET_PIN list if that lies inside the mask. A number is
 * taken as asked for, a percentage is of the mask, rounded, at least 1: limits do not lower what
 * somebody asked for, but they forbid pinning.
 */
export function workerCount(input: CountInput): WorkerCount {
  const pool = usableCpus(input.settings.pin, input.mask);
  const { count, text } = wantedCount(input, pool);
  const unpinned = whyUnpinned(count, pool, input.quotaCpus);
  return {
    count,
    pinAllowed: unpinned === undefined,
    ...(unpinned !== undefined && { unpinned }),
    cpus: [...pool.cpus].sort((a, b) => a - b),
    perCpu: perCpu(count, pool.cpus.length),
    why: `workers ${text}; ${unpinned === undefined ? 'pinned' : `not pinned: ${unpinned}`}`,
  };
}

export interface Seat {
  /** Worker and socket index, from 1. */
  readonly index: number;
  readonly cpu?: number;
  /** Why there is no CPU; absent if there is one. */
  readonly unpinned?: string;
}

/**
 * Gives worker 1..count its CPU: the first of `order` (see coreOrder) that is not avoided, then the
 * avoided ones. A worker that has one of these CPUs already keeps it.
 *
 * @param avoid CPUs on which another app's workers are pinned: two apps that each use part of a host
 *   must not sit on the same cores while others are free.
 * @param before CPU of each worker until now, by index.
 */
export function assign(
  counted: Pick<WorkerCount, 'count' | 'unpinned'>,
  order: readonly number[],
  avoid: ReadonlySet<number> = new Set(),
  before: readonly (number | undefined)[] = [],
): Seat[] {
  const kept = new Map<number, number>();
  before.slice(0, counted.count + 1).forEach((cpu, index) => {
    if (index > 0 && cpu !== undefined && order.includes(cpu) && ![...kept.values()].includes(cpu))
      kept.set(index, cpu);
  });
  const taken = new Set(kept.values());
  const left = order.filter((cpu) => !taken.has(cpu));
  const free = [...left.filter((cpu) => !avoid.has(cpu)), ...left.filter((cpu) => avoid.has(cpu))];
  return Array.from({ length: counted.count }, (_, i): Seat => {
    const index = i + 1;
    const cpu = kept.get(index) ?? free.shift();
    if (counted.unpinned !== undefined) return { index, unpinned: counted.unpinned };
    if (cpu === undefined) return { index, unpinned: `no CPU left for worker ${index}` };
    return { index, cpu };
  });
}
