// SPDX-License-Identifier: Apache-2.0

/** CONFIG_NR_CPUS of x86-64 with MAXSMP; keeps `0-4294967295` from becoming a four-billion-element array. */
const HIGHEST_CPU = 8191;

/**
 * Parses the kernel's CPU list format (`0-3,8`, cpuset(7) "List format"), as in
 * /sys/devices/system/cpu/online and in FASTSOCKET_PIN.
 *
 * @returns the CPUs, ascending and without repetition; undefined if the text is not a list of at
 *   least one CPU. The `first-last:used/group` form, which the kernel accepts but never prints, is refused.
 */
export function parseCpuList(text: string): number[] | undefined {
  const cpus = new Set<number>();
  for (const part of text.trim().split(',')) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    if (!match) return undefined;
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    if (last < first || last > HIGHEST_CPU) return undefined;
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

/** The shortest list for these CPUs (`[0,1,2,8]` -> `0-2,8`); `''` for none. Order and repetitions are ignored. */
export function formatCpuList(cpus: readonly number[]): string {
  const sorted = [...new Set(cpus)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    const first = sorted[i] as number;
    let last = first;
    while (sorted[++i] === last + 1) last++;
    parts.push(first === last ? `${first}` : `${first}-${last}`);
  }
  return parts.join(',');
}
