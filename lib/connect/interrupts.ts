// SPDX-License-Identifier: Apache-2.0
// Which CPU a network card's queue interrupts.
import { parseCpuList } from '../config/cpulist';

/** What is read of /proc and /sys; a test has its own. */
export interface InterruptFiles {
  text(path: string): string | undefined;
  names(folder: string): string[];
}

/**
 * The queue that an interrupt's name in /proc/interrupts ends with: eth0-TxRx-3, virtio0-input.3, mlx5_comp3@pci:0000:01:00.0.
 * undefined where it is not one that receives.
 */
export function receiveQueue(name: string): number | undefined {
  const bare = name.replace(/@pci:.*$/, '');
  if (/output|-tx-(?!rx)|mgmnt|ctrl|config|async|pages|cmd/i.test(bare)) return undefined;
  const match = /[-._a-z](\d+)$/i.exec(bare);
  return match ? Number(match[1]) : undefined;
}

/** Numbers and names of the interrupts of /proc/interrupts: `45:  0  12  PCI-MSIX-0000:00:03.0  1-edge  virtio0-input.0`. */
export function parseInterrupts(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const match = /^\s*(\d+):.*\s(\S+)\s*$/.exec(line);
    if (match) names.set(Number(match[1]), match[2] as string);
  }
  return names;
}

/**
 * The one CPU of an interrupt: what is asked for where that is one CPU, else what is in effect (which is what it was before
 * until the next interrupt after a change).
 */
function cpuOf(files: InterruptFiles, interrupt: number): number | undefined {
  for (const name of ['smp_affinity_list', 'effective_affinity_list']) {
    const cpus = parseCpuList(files.text(`/proc/irq/${interrupt}/${name}`)?.trim() ?? '');
    if (cpus?.length === 1) return cpus[0];
  }
  return undefined;
}

/** The CPU of each receive queue of an interface, as far as it is known. */
export function queueCpus(files: InterruptFiles, interfaceName: string): Map<number, number> {
  const device = `/sys/class/net/${interfaceName}/device`;
  // a virtio device is a child of the PCI device that has the interrupts
  const own = [`${device}/msi_irqs`, `${device}/../msi_irqs`]
    .map((folder) => files.names(folder))
    .find(({ length }) => length > 0);
  const cpus = new Map<number, number>();
  const names = parseInterrupts(files.text('/proc/interrupts') ?? '');
  for (const interrupt of (own ?? []).map(Number)) {
    const queue = receiveQueue(names.get(interrupt) ?? '');
    const cpu = queue === undefined ? undefined : cpuOf(files, interrupt);
    if (queue !== undefined && cpu !== undefined) cpus.set(queue, cpu);
  }
  return cpus;
}
