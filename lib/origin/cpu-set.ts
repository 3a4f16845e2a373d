// SPDX-License-Identifier: Apache-2.0
import { formatCpuList } from '../config/cpulist';
import type { Places } from '../group/balancer';
import { debug, debugOnce } from '../log';
import { type Layout, type Multiplied, pinPlaces } from './plan';

/** Looks come with what ticks while there is traffic; they need not come more often than this. */
export const EVERY_MS = 400;
/** The kernel changes the threads of a control group one after the other (kernel/cgroup/cpuset.c, cpuset_update_tasks_cpumask). */
const AGAIN_MS = 200;
/** An app that replaces a worker that has ended does so at once; the new one counts when it has been given a socket. */
export const REPLACED_MS = 2_000;

export interface CpuSetHooks {
  /** Indexes of those that are to have a CPU, in the order in which they get one. */
  workers(): number[];
  /**
   * Worker `index` has this CPU from now on, undefined: none of its own. `free`: where all but its event loop may run;
   * empty: wherever the process's cpuset lets it.
   */
  tell(index: number, core: number | undefined, free: readonly number[]): void;
  /** The plan's CPUs are others. */
  moved(places: Places): void;
}

/**
 * The CPUs that the process may use, which a container's runtime changes while it runs (docker update --cpuset-cpus), and
 * so does taskset. What counts is the origin's own mask: nobody pins it. The workers are those that there are; who has which
 * CPU is decided anew, as at the start. Nothing here wakes up by itself.
 */
export class CpuSet {
  private mask: string;
  private bounded: boolean | undefined;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly plan: Multiplied,
    private readonly hooks: CpuSetHooks,
  ) {
    this.mask = String(plan.mask);
  }

  /** @param now by performance.now() */
  look(now = performance.now()): void {
    if (now - this.lookedAt < EVERY_MS) return;
    this.lookAtOnce(now);
  }

  /** A worker's event loop is not where it was pinned to. */
  lookAtOnce(now = performance.now()): void {
    this.lookedAt = now;
    const mask = this.plan.addon.getAffinity(0);
    if (typeof mask === 'number' || String(mask) === this.mask) return;
    this.mask = String(mask);
    this.follow(mask);
    setTimeout(() => this.again(), AGAIN_MS).unref();
  }

  /** A worker has ended. Where there were too many for anybody to have a CPU, there may be one for each now. */
  fewer(): void {
    if (!this.plan.cpus.none) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const mask = this.plan.addon.getAffinity(0);
      if (typeof mask === 'number' || !this.plan.cpus.none || pinPlaces(this.layOut(mask)).length === 0)
        return;
      this.mask = String(mask);
      this.follow(mask);
    }, REPLACED_MS).unref();
  }

  /** There have been more workers than CPUs for long: who has a CPU now makes no difference. */
  crowded(): void {
    const { plan, hooks } = this;
    const mask = plan.addon.getAffinity(0);
    if (typeof mask === 'number') return;
    this.mask = String(mask);
    this.follow(mask, plan.layOutAgain(mask, [undefined, ...hooks.workers().map(() => undefined)]));
  }

  private layOut(mask: readonly number[]): Layout {
    const { plan, hooks } = this;
    return plan.layOutAgain(mask, [undefined, ...hooks.workers().map((index) => plan.cpus.cores[index])]);
  }

  /** What was seen may have been half of it. */
  private again(): void {
    const mask = this.plan.addon.getAffinity(0);
    if (typeof mask === 'number') return;
    const same = String(mask) === this.mask && this.isBounded(mask) === this.bounded;
    this.mask = String(mask);
    if (!same) this.follow(mask);
  }

  /** Somebody has given the process fewer CPUs than its cpuset has. */
  private isBounded(mask: readonly number[]): boolean {
    const whole = this.plan.addon.groupCpus();
    if (typeof whole !== 'number') return whole.some((cpu) => !mask.includes(cpu));
    debugOnce('threads of workers are bound to the CPUs of now: sched_setaffinity fails (errno %d)', -whole);
    return true;
  }

  private follow(mask: readonly number[], layout = this.layOut(mask)): void {
    const { plan, hooks } = this;
    this.bounded = this.isBounded(mask);
    const { cpus } = plan;
    const workers = hooks.workers();
    const { places, unpinned } = layout;
    const how = unpinned === undefined ? '' : `, not pinned: ${unpinned}`;
    debug('the CPUs that may be used are %s now%s', formatCpuList(mask), how);
    cpus.become(pinPlaces(layout), workers);
    for (const index of workers) hooks.tell(index, cpus.cores[index], this.bounded ? mask : []);
    hooks.moved({ ...places, nodes: cpus.nodes });
  }
}
