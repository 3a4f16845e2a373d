// SPDX-License-Identifier: Apache-2.0
import { groupDirectories, parseGroupMounts, parseGroupPaths } from './cgroup-paths';
import type { ReadText } from './read';

/** Kills that are counted at one moment are of processes whose ends are seen within this time. */
const TOGETHER_MS = 1_000;

/** v2 and v1: Documentation/admin-guide/cgroup-v2.rst, "memory.events"; mm/memcontrol-v1.c, mem_cgroup_oom_control_read. */
const FILES = { unified: 'memory.events', old: 'memory.oom_control' };

/**
 * Whether a process that has ended by SIGKILL was killed for want of memory: the kernel counts those of a control group
 * (oom_kill), its own as far as this process can tell. Never throws.
 */
export class MemoryKills {
  private readonly file: string | undefined;
  private last: number;
  /** Counted, and told of nobody yet; not later than `until`. */
  private untold = 0;
  private until = 0;
  /** What more() has told of. */
  private told: number;

  constructor(
    private readonly read: ReadText,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.file = this.find();
    this.last = this.told = this.count() ?? 0;
  }

  /** What is known of the end of a process by this signal, for the log; '' where that is nothing. */
  cause(signal: string | null): string {
    if (signal !== 'SIGKILL') return '';
    if (this.file === undefined) return ', for want of memory perhaps: no oom_kill can be read';
    const count = this.count() ?? 0;
    if (count > this.last) {
      this.untold = count - this.last;
      this.until = this.now() + TOGETHER_MS;
    }
    this.last = count;
    if (this.untold === 0 || this.now() > this.until) return '';
    this.untold--;
    return `, for want of memory: oom_kill ${count} in ${this.file}`;
  }

  /** Whether there have been more since this was asked before, of whatever process of the group. */
  more(): boolean {
    const before = this.told;
    this.told = this.count() ?? before;
    return this.told > before;
  }

  private count(): number | undefined {
    const line = this.file === undefined ? null : /^oom_kill (\d+)$/m.exec(this.read(this.file) ?? '');
    return line ? Number(line[1]) : undefined;
  }

  /** A kill counts in the group of the process that is killed (include/linux/memcontrol.h, memcg_memory_event). */
  private find(): string | undefined {
    const mounts = parseGroupMounts(this.read('/proc/self/mountinfo') ?? '');
    for (const group of parseGroupPaths(this.read('/proc/self/cgroup') ?? '')) {
      if (!group.unified && !group.controllers.includes('memory')) continue;
      const [own] = groupDirectories(group, mounts);
      const file = `${own}/${group.unified ? FILES.unified : FILES.old}`;
      if (own !== undefined && this.read(file) !== undefined) return file;
    }
    return undefined;
  }
}
