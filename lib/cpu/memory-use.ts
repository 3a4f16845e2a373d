// SPDX-License-Identifier: Apache-2.0
import { COPY_WEIGHT } from './count';
import type { ReadText } from './read';

/** What the app's processes have in memory now, with the programs that they have started. Shared pages count in each. */
export interface MemoryUse {
  /** The origin, and what it has started beside the workers. */
  readonly originBytes: number;
  readonly workersBytes: readonly number[];
}

/** proc_pid_status(5): kibibytes. */
function residentBytes(pid: number, read: ReadText): number | undefined {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '');
  return line ? Number(line[1]) * 1024 : undefined;
}

/** proc_pid_task_children(5): where the kernel has it. Node starts processes in its main thread. */
function children(pid: number, read: ReadText): number[] {
  const list = (read(`/proc/${pid}/task/${pid}/children`) ?? '').trim();
  return list === '' ? [] : list.split(/\s+/).map(Number);
}

/** @returns undefined where that cannot be told */
export function memoryUse(origin: number, workers: readonly number[], read: ReadText): MemoryUse | undefined {
  const seen = new Set([origin, ...workers]);
  const below = (pid: number): number => {
    let bytes = residentBytes(pid, read) ?? 0;
    for (const child of children(pid, read)) {
      if (seen.has(child)) continue;
      seen.add(child);
      bytes += below(child);
    }
    return bytes;
  };
  if (residentBytes(origin, read) === undefined) return undefined;
  return { originBytes: below(origin), workersBytes: workers.map(below) };
}

/**
 * How many more copies fit into the limit: each as heavy as the heaviest process is now, and as a copy is expected to be.
 * Those that there are may come to be that heavy, too.
 * @param sizeBytes the app's size before it served
 */
export function copiesThatFit(limitBytes: number, sizeBytes: number, use: MemoryUse): number {
  const { originBytes, workersBytes } = use;
  const weight = Math.max(COPY_WEIGHT * sizeBytes, originBytes, ...workersBytes);
  const now = originBytes + workersBytes.reduce((sum, bytes) => sum + bytes, 0);
  const beside = Math.floor((limitBytes - now) / weight);
  const inAll = Math.floor((limitBytes - originBytes) / weight);
  return Math.max(0, Math.min(beside, inAll - workersBytes.length));
}
