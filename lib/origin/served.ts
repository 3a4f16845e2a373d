// SPDX-License-Identifier: Apache-2.0
import { Balancer, type Places } from '../group/balancer';
import type { ListenerGroup } from '../group/listener-group';
import { Steering } from '../group/steering';
import { debug } from '../log';
import type { Arrivals } from '../steering/arrivals';
import { CpuSet, type CpuSetHooks } from './cpu-set';
import type { Groups } from './groups';
import type { Multiplied } from './plan';
import { UnservedQueues } from './unserved-queues';

/** Whom new connections go to: the workers that serve a group, in the kernel's program and for the balancing. */
export class Served {
  readonly balancer: Balancer;
  private readonly steering: Steering;
  private readonly unserved: UnservedQueues;
  private readonly cpuSet: CpuSet;

  /**
   * @param multiplied whether the workers serve a group: while the canary proves itself the origin does
   * @param pinned the workers, whose CPUs may become others
   */
  constructor(
    plan: Multiplied,
    private readonly groups: Groups,
    private readonly multiplied: (group: ListenerGroup) => boolean,
    pinned: Omit<CpuSetHooks, 'moved'> & {
      /** Since when nobody is to be worker `index`. */
      vacantSince?(index: number): number | undefined;
    },
  ) {
    this.cpuSet = new CpuSet(plan, {
      ...pinned,
      tell: (index, core, free) => {
        pinned.tell(index, core, free);
        this.balancer.placed(index);
      },
      moved: (places) => this.moved(places),
    });
    const shares = plan.balance.includes('shares');
    this.balancer = new Balancer(plan.addon, plan.balance, plan.steer, plan.places, (figures, elapsedMs) => {
      this.cpuSet.look();
      if (shares) this.steering.balance(figures, elapsedMs, () => this.resteerAll());
    });
    this.steering = new Steering(
      plan.steer,
      plan.cpus.cores,
      (why) => debug('steering: %s', why),
      this.balancer,
    );
    this.unserved = new UnservedQueues(
      () => this.groups,
      (group) => this.balancer.steals(group) && this.serving(group).length > 0,
      (index) => pinned.vacantSince?.(index),
    );
  }

  /** Workers of which the group is served now. */
  private serving(group: ListenerGroup): number[] {
    return this.multiplied(group) ? [...group.ready] : [];
  }

  /** Who serves the group has changed. */
  resteer(group: ListenerGroup): void {
    if (group.closing) return;
    const serving = this.serving(group);
    this.balancer.serve(group, serving);
    this.steering.apply(group, serving);
    group.settle(serving);
    this.unserved.look();
  }

  resteerAll(): void {
    for (const group of this.groups) this.resteer(group);
  }

  /** Where connections have arrived, as a worker says. */
  arrived(cpus: readonly Arrivals[]): void {
    this.cpuSet.look();
    if (cpus.length > 0) this.steering.arrived(cpus, () => this.resteerAll());
  }

  /** A worker's event loop is not where it was pinned to. */
  displaced(): void {
    this.cpuSet.displaced();
  }

  /** What the process may use is of interest now. */
  lookAtCpus(): void {
    this.cpuSet.lookAtOnce();
  }

  /** See CpuSet.free. */
  get free(): readonly number[] | undefined {
    return this.cpuSet.free;
  }

  /** There are, or there are to be, other workers. */
  crewChanged(): void {
    this.cpuSet.crewChanged();
  }

  /** The workers that serve, of which there may be any number, may be fewer than were expected. */
  fewer(): void {
    this.cpuSet.fewer();
  }

  /** They have been more than CPUs for long. */
  crowded(): void {
    this.cpuSet.crowded();
  }

  private moved(places: Places): void {
    this.balancer.spread(places);
    this.resteerAll();
  }

  /** Queues without a worker are served from here until one comes. */
  lookAfterQueues(): void {
    this.unserved.look();
  }

  /** The origin serves the group, alone and for good. */
  becomeSingle(group: ListenerGroup): void {
    this.balancer.serve(group, []);
    this.steering.apply(group, []);
    this.balancer.forget(group);
    group.becomeSingle();
  }
}
