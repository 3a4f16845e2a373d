// SPDX-License-Identifier: Apache-2.0
import { formatCpuList } from '../config/cpulist';
import type { Limits } from '../cpu/cgroup';
import type { Places } from '../group/balancer';
import { debug, debugOnce } from '../log';
import { type Layout, type Multiplied, pinPlaces } from './plan';

/** Looks come with what ticks while there is traffic; they need not come more often than this. */
export const EVERY_MS = 400;
/** The kernel changes the threads of a control group one after the other (kernel/cgroup/cpuset.c, cpuset_update_tasks_cpumask). */
export const AGAIN_MS = 200;
/** So long after a change a worker that is displaced is so by the same one, which has come to it later (taskset, one by one). */
export const SAME_CHANGE_MS = 10_000;
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
  /** What the process may use now has been looked at. */
  seen?(mask: readonly number[], limits: Limits): void;
}

interface Seen {
  mask: readonly number[];
  /** As they are, or were when they could be seen. */
  limits: Limits;
  known: boolean;
  /** Where this is another, workers may have to move. */
  key: string;
}

const keyOf = (mask: readonly number[], quotaCpus: number | undefined): string =>
  `${mask}, ${quotaCpus ?? 'all'} of their time`;

/**
 * The CPUs that the process may use, and how much of their time, which a container's runtime changes while it runs (docker
 * update --cpuset-cpus, --cpus), and so does taskset. What counts is the origin's own mask: nobody pins it. The workers are
 * those that there are; who has which CPU is decided anew, as at the start. Nothing here wakes up by itself.
 */
export class CpuSet {
  private key: string;
  private bounded: boolean | undefined;
  private told: readonly number[] | undefined;
  /** Limits, as was last seen. */
  private limits: Limits;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private changedAt = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly plan: Multiplied,
    private readonly hooks: CpuSetHooks,
  ) {
    const { mask, quotaCpus } = plan;
    this.limits = { ...(quotaCpus !== undefined && { cpus: quotaCpus }), detail: '' };
    this.key = keyOf(mask, quotaCpus);
  }

  /** What workers were told last of where all but their event loops may run; undefined while nothing has changed. */
  get free(): readonly number[] | undefined {
    return this.told;
  }

  /** @param now by performance.now() */
  look(now = performance.now()): void {
    if (now - this.lookedAt < EVERY_MS) return;
    this.lookAtOnce(now);
  }

  /** A worker's event loop is not where it was pinned to. */
  displaced(now = performance.now()): void {
    this.lookAtOnce(now, now - this.changedAt < SAME_CHANGE_MS);
  }

  /** @param again whether to follow what has been followed already */
  lookAtOnce(now = performance.now(), again = false): void {
    this.lookedAt = now;
    const seen = this.see();
    if (!seen) return;
    if (seen.key !== this.key || again) {
      this.follow(seen);
      setTimeout(() => this.again(), AGAIN_MS).unref();
    }
    if (seen.known) this.hooks.seen?.(seen.mask, seen.limits);
  }

  /** The workers are others now, or are about to be. */
  crewChanged(): void {
    const seen = this.see();
    if (seen) this.follow(seen);
    // at the next look
    else this.key = '';
  }

  /** A worker has ended. Where there were too many for anybody to have a CPU, there may be one for each now. */
  fewer(): void {
    if (!this.plan.cpus.none) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const seen = this.see();
      if (!seen || !this.plan.cpus.none || pinPlaces(this.layOut(seen)).length === 0) return;
      this.follow(seen);
    }, REPLACED_MS).unref();
  }

  private see(): Seen | undefined {
    const mask = this.plan.addon.getAffinity(0);
    if (typeof mask === 'number') return undefined;
    const limits = this.plan.limits();
    if (limits) this.limits = limits;
    return { mask, limits: this.limits, known: limits !== undefined, key: keyOf(mask, this.limits.cpus) };
  }

  /** There have been more workers than CPUs for long: who has a CPU now makes no difference. */
  crowded(): void {
    const seen = this.see();
    if (!seen) return;
    this.follow(
      seen,
      this.layOut(seen, () => undefined),
    );
  }

  /** @param had the CPU of a worker until now */
  private layOut({ mask, limits }: Seen, had = (index: number) => this.plan.cpus.cores[index]): Layout {
    return this.plan.layOutAgain(mask, [undefined, ...this.hooks.workers().map(had)], limits);
  }

  /** What was seen may have been half of it. */
  private again(): void {
    const seen = this.see();
    if (seen && (seen.key !== this.key || this.isBounded(seen.mask) !== this.bounded)) this.follow(seen);
  }

  /** Somebody has given the process fewer CPUs than its cpuset has. */
  private isBounded(mask: readonly number[]): boolean {
    const whole = this.plan.addon.groupCpus();
    if (typeof whole !== 'number') return whole.some((cpu) => !mask.includes(cpu));
    debugOnce('threads of workers are bound to the CPUs of now: sched_setaffinity fails (errno %d)', -whole);
    return true;
  }

  private follow(seen: Seen, layout = this.layOut(seen)): void {
    const { mask, limits, key } = seen;
    const { plan, hooks } = this;
    if (key !== this.key) this.changedAt = performance.now();
    this.key = key;
    this.bounded = this.isBounded(mask);
    const { cpus } = plan;
    const workers = hooks.workers();
    const { places, unpinned } = layout;
    const how = unpinned === undefined ? '' : `, not pinned: ${unpinned}`;
    const quota = limits.cpus === undefined ? '' : `, the time of ${limits.cpus}`;
    debug('the CPUs that may be used are %s%s now%s', formatCpuList(mask), quota, how);
    cpus.become(pinPlaces(layout), workers);
    const free = this.bounded ? mask : [];
    this.told = free;
    for (const index of workers) hooks.tell(index, cpus.cores[index], free);
    hooks.moved({ ...places, nodes: cpus.nodes });
  }
}
