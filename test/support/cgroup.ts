// SPDX-License-Identifier: Apache-2.0
// Control groups that the kernel really made, as a container runtime makes them. Root only.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { type GroupMount, parseGroupMounts } from '../../lib/cpu/cgroup-paths';
import { readText } from '../../lib/cpu/read';
import { lives, until } from './app';

export type Controller = 'cpu' | 'memory' | 'cpuset' | 'pids';

function offers(mount: GroupMount, controller: Controller): boolean {
  if (mount.root !== '/' || !existsSync(`${mount.mountPoint}/cgroup.procs`)) return false;
  if (!mount.unified) return mount.controllers.includes(controller);
  return (readText(`${mount.mountPoint}/cgroup.subtree_control`) ?? '').split(/\s+/).includes(controller);
}

function mountOf(controller: Controller): GroupMount | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  return parseGroupMounts(readText('/proc/self/mountinfo') ?? '').find((mount) => offers(mount, controller));
}

/** Option of a test that needs groups with these controllers. */
export function needsGroups(...controllers: Controller[]): { skip: false | string } {
  const missing = controllers.filter((controller) => mountOf(controller) === undefined);
  return { skip: missing.length > 0 && `needs root and a cgroup hierarchy with ${missing.join(' and ')}` };
}

/**
 * False while a thread is about to leave it: cgroup.procs leaves out a process whose first thread has (kernel/cgroup/cgroup.c,
 * css_task_iter_advance), and the others may take their time over its memory (kernel/exit.c, do_exit).
 */
function removed(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

let made = 0;

/** A group below the root of a hierarchy, and one more below that; gone after the test. */
export class LimitedGroup {
  private readonly mount: GroupMount;
  private readonly outer: string;
  private readonly inner: string;

  constructor(
    t: TestContext,
    private readonly controller: Controller,
  ) {
    this.mount = mountOf(controller) as GroupMount;
    this.outer = `${this.mount.mountPoint}/fastsocket-test-${process.pid}-${++made}`;
    this.inner = `${this.outer}/inner`;
    mkdirSync(this.inner, { recursive: true });
    t.after(() => this.remove());
    // v2: a parent hands its controllers on (Documentation/admin-guide/cgroup-v2.rst, "Enabling and Disabling")
    if (this.mount.unified) writeFileSync(`${this.outer}/cgroup.subtree_control`, `+${controller}`);
    else if (controller === 'cpuset') this.inheritCpuset();
  }

  /** v1: nobody may be in a group without CPUs and memory nodes (Documentation/admin-guide/cgroup-v1/cpusets.rst). */
  private inheritCpuset(): void {
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      for (const folder of [this.outer, this.inner])
        writeFileSync(`${folder}/${file}`, readFileSync(`${this.mount.mountPoint}/${file}`));
  }

  /** The CPUs of the group, as docker update --cpuset-cpus changes them. */
  cpus(list: readonly number[]): this {
    writeFileSync(`${this.inner}/cpuset.cpus`, list.join());
    return this;
  }

  /** Processes and threads that the group may have; those that are there stay. */
  pids(most: number | 'max'): this {
    writeFileSync(`${this.inner}/pids.max`, String(most));
    return this;
  }

  get pidsNow(): number {
    return Number(readFileSync(`${this.inner}/pids.current`, 'utf8'));
  }

  /** Puts a process that runs into the group. */
  take(pid: number): void {
    writeFileSync(`${this.inner}/cgroup.procs`, String(pid));
  }

  /** @param cpus CPUs' worth of time */
  quota(cpus: number, { where = this.inner, periodUs = 100_000 } = {}): this {
    const quotaUs = Math.round(cpus * periodUs);
    if (this.mount.unified) writeFileSync(`${where}/cpu.max`, `${quotaUs} ${periodUs}`);
    else {
      writeFileSync(`${where}/cpu.cfs_period_us`, String(periodUs));
      writeFileSync(`${where}/cpu.cfs_quota_us`, String(quotaUs));
    }
    return this;
  }

  /** The same on the parent of the processes' group. */
  quotaAbove(cpus: number): this {
    return this.quota(cpus, { where: this.outer });
  }

  memory(bytes: number): this {
    writeFileSync(
      `${this.inner}/${this.mount.unified ? 'memory.max' : 'memory.limit_in_bytes'}`,
      String(bytes),
    );
    return this;
  }

  /** Bytes that are charged to it. */
  get memoryNow(): number {
    const file = this.mount.unified ? 'memory.current' : 'memory.usage_in_bytes';
    return Number(readFileSync(`${this.inner}/${file}`, 'utf8'));
  }

  /** Words before a command that start it in the group. */
  get prefix(): string[] {
    return ['sh', '-c', `echo $$ > ${this.inner}/cgroup.procs && exec "$@"`, 'sh'];
  }

  /** Ends what runs in it: hooks run in the order in which they were set up, this one's before the app's. */
  private async remove(): Promise<void> {
    await until(() => {
      const pids = readFileSync(`${this.inner}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
      for (const pid of pids) if (lives(pid)) process.kill(pid, 'SIGKILL');
      return pids.length === 0 && removed(this.inner);
    }, `an empty ${this.controller} group`);
    rmdirSync(this.outer);
  }
}
