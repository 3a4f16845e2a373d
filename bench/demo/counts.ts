// SPDX-License-Identifier: Apache-2.0
import type { ProcessCount } from './types';

/** What was counted between two questions; processes that accepted nothing in between are left out. */
export function countsSince(before: readonly ProcessCount[], after: readonly ProcessCount[]): ProcessCount[] {
  const earlier = new Map(before.map((count) => [count.pid, count]));
  return after
    .map(({ pid, accepted, cpus }) => {
      const old = earlier.get(pid);
      const oldCpus = new Map(old?.cpus.map(([cpu, connections, local]) => [cpu, { connections, local }]));
      return {
        pid,
        accepted: accepted - (old?.accepted ?? 0),
        cpus: cpus
          .map(([cpu, connections, local]): [number, number, number] => {
            const { connections: c = 0, local: l = 0 } = oldCpus.get(cpu) ?? {};
            return [cpu, connections - c, local - l];
          })
          .filter(([, connections]) => connections > 0),
      };
    })
    .filter(({ accepted }) => accepted > 0);
}
