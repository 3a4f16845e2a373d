// SPDX-License-Identifier: Apache-2.0
// On which CPUs threads may run (proc(5), Cpus_allowed_list).
import { readdirSync, readFileSync } from 'node:fs';
import { parseCpuList } from '../../lib/config/cpulist';

const maskIn = (file: string): string =>
  /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? '';

/** CPUs that this process may use. */
export const ownCpus = parseCpuList(maskIn('/proc/self/status')) ?? [];

/** Words before a command that is to have no more than so many CPUs. */
export const onCpus = (count: number): string[] => ['taskset', '-c', ownCpus.slice(0, count).join(',')];

/** Of a process's first thread, where Node's event loop runs. */
export const loopMask = (pid: number): string => maskIn(`/proc/${pid}/status`);

/** Of its other threads, each once. */
export function otherMasks(pid: number): string[] {
  const masks = new Set<string>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    if (Number(thread) === pid) continue;
    try {
      masks.add(maskIn(`/proc/${pid}/task/${thread}/status`));
    } catch {
      // it has ended
    }
  }
  return [...masks];
}
