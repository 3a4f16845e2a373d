// SPDX-License-Identifier: Apache-2.0
import type { Limits } from '../cpu/cgroup';
import type { MemoryKills } from '../cpu/memory-kills';
import { memoryUse } from '../cpu/memory-use';
import { readText } from '../cpu/read';
import type { ListenerGroup } from '../group/listener-group';
import type { Refusal } from '../group/refusal';
import { makeSiblings } from '../group/siblings';
import { debug } from '../log';
import { graceMs } from '../signals/told';
import { describeKey, type Lifecycle } from '../workers/lifecycle';
import type { WorkerPool } from '../workers/pool';
import { type ChangedUser, refusedAs } from './changed-user';
import { Fit } from './fit';
import type { Groups } from './groups';
import type { Multiplied } from './plan';
import { Room } from './room';
import type { Served } from './served';

export interface GrowthOptions {
  plan: Multiplied;
  groups: Groups;
  pool: Pick<WorkerPool, 'live' | 'size' | 'pids'>;
  served: Pick<Served, 'balancer' | 'lookAtCpus' | 'crewChanged'>;
  lifecycle: Pick<Lifecycle, 'state'>;
  user: Pick<ChangedUser, 'now'>;
  kills: Pick<MemoryKills, 'more'>;
  /** Starts worker `index`. */
  start(index: number): void;
}

/** How many workers there are, where that follows the limits: each group has a socket for every one of them. */
export class Growth {
  private readonly room: Room;
  private readonly fit: Fit;
  /** The limit, as was last seen. */
  private memoryBytes: number | undefined;
  /** Numbers of workers that have ended and were not replaced, and since when. */
  private readonly vacant = new Map<number, number>();
  private telling: NodeJS.Immediate | undefined;

  constructor(private readonly options: GrowthOptions) {
    const { pool, served, plan, kills } = options;
    this.fit = new Fit({
      kills,
      use: () => memoryUse(process.pid, pool.pids(), readText),
      sizeBytes: () => plan.originRssBytes,
    });
    this.room = new Room({
      count: () => pool.size,
      settled: () => this.settled,
      // those that are about to start again are not live
      most: () => pool.live.length + this.fit.more(this.memoryBytes),
      grow: (by) => this.grow(by),
      lookAgain: () => served.lookAtCpus(),
    });
  }

  /** Numbers of the workers that there are to be. */
  get indexes(): number[] {
    const all = Array.from({ length: this.options.plan.workers }, (_, i) => i + 1);
    return all.filter((index) => !this.vacant.has(index));
  }

  /** What the process may use, as it is now. */
  look(mask: readonly number[], limits: Limits): void {
    const { room } = this.options.plan;
    this.memoryBytes = limits.memoryBytes;
    if (room) this.room.look(room(mask, limits));
  }

  /** Whether worker `index`, of which there is no process, is to be started again: see toReplace(). */
  replaces(index: number): boolean {
    return this.toReplace([index]).length > 0;
  }

  /**
   * Those of the workers, of which there are no processes, that are to be started again. Where there is no room for one now
   * it is when there is.
   */
  toReplace(indexes: readonly number[]): number[] {
    const { plan, served } = this.options;
    if (!plan.room || indexes.length === 0) return [...indexes];
    served.lookAtCpus();
    const replaced = indexes.slice(0, Math.max(0, this.room.free));
    const before = this.vacant.size;
    const returned = replaced.filter((index) => this.vacant.delete(index));
    for (const index of indexes.slice(replaced.length)) this.vacate(index);
    if (returned.length > 0 || this.vacant.size > before) this.changed();
    return replaced;
  }

  /** Since when there is no worker `index`, because there is no room for it. */
  vacantSince(index: number): number | undefined {
    return this.vacant.get(index);
  }

  private vacate(index: number): void {
    const { plan, pool } = this.options;
    if (this.vacant.has(index)) return;
    debug('worker %d is not replaced: there is room for no more than the %d that are left', index, pool.size);
    this.vacant.set(index, performance.now());
    plan.cpus.free(index);
  }

  /** Workers often end together: the others are laid out anew once. */
  private changed(): void {
    this.telling ??= setImmediate(() => {
      this.telling = undefined;
      this.options.served.crewChanged();
    });
  }

  /** Copies have proved themselves, all serve (and weigh something), nothing closes, and the app has not just been told of a signal: most end then. */
  private get settled(): boolean {
    const { groups, pool, lifecycle, plan } = this.options;
    if (lifecycle.state !== 'full' || groups.size === 0 || groups.closing) return false;
    return pool.live.every(
      (worker) => worker.servedAt !== undefined && graceMs(worker, plan.exitWaitMs) === 0,
    );
  }

  private grow(by: number): Refusal | undefined {
    const { plan, served, start } = this.options;
    const indexes = [...this.vacant.keys()].sort((a, b) => a - b).slice(0, by);
    const more = by - indexes.length;
    const refused = more > 0 ? this.makeSockets(more) : undefined;
    if (more > 0 && !refused) for (let n = 0; n < more; n++) indexes.push(++plan.workers);
    if (indexes.length === 0) return refused;
    for (const index of indexes) this.vacant.delete(index);
    debug('there is room for more workers: %s', indexes.join(', '));
    // before they start: each begins where it is to stay
    served.crewChanged();
    for (const index of indexes) start(index);
    return refused;
  }

  /** Sockets for so many more workers, in all groups or in none. */
  private makeSockets(count: number): Refusal | undefined {
    const { groups, plan, served, user } = this.options;
    const made = new Map<ListenerGroup, number[]>();
    for (const group of groups) {
      const sockets = makeSiblings(plan.addon, group, count);
      if (!Array.isArray(sockets)) {
        for (const fd of [...made.values()].flatMap((fds) => fds.reverse())) plan.addon.close(fd);
        return refusedAs({ ...sockets, why: `${describeKey(group.key)}: ${sockets.why}` }, user);
      }
      made.set(group, sockets);
    }
    for (const [group, sockets] of made) {
      group.add(sockets);
      served.balancer.watch(group);
    }
    return undefined;
  }
}
