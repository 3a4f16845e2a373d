// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import { markerName } from '../config/environment';
import type { ClosingGroup } from '../group/closing';
import type { ListenerGroup } from '../group/listener-group';
import { onHandleGiven } from '../hook/given-handles';
import type { Sharables } from '../hook/sharables';
import type { ServerInside } from '../hook/tcp';
import { debug } from '../log';
import type { OriginSignals } from '../signals/origin-signals';
import { exitWaits } from '../signals/told';
import type { State } from '../state';
import { Lifecycle, SETTLED_MS } from '../workers/lifecycle';
import { type Worker, WorkerPool } from '../workers/pool';
import { Renewal } from '../workers/renewal';
import { Succession } from '../workers/succession';
import { Alone } from './alone';
import { Asks } from './asks';
import type { Attempts } from './attempts';
import type { ChangedUser } from './changed-user';
import { closeGroup } from './close-group';
import { ConnectionCount } from './connection-count';
import type { EarlyConnects } from './early-connects';
import { appForks, onClusterFork } from './eligible';
import { Giving } from './giving';
import { Groups } from './groups';
import { Growth } from './growth';
import { inheritance } from './inheritance';
import { judged } from './judged';
import type { Multiplied } from './plan';
import { Retreat } from './retreat';
import { Served } from './served';
import { Settled } from './settled';
import { SharedSockets } from './shared-sockets';
import { type EndHearers, workerEnded, workerNotStarted } from './worker-ends';
import { channelLost, type Hearers, hear } from './worker-words';

export interface TreeOptions {
  plan: Multiplied;
  clusterLoaded: boolean;
  state: State;
  birth: Birth;
  /** Marks the programs that the origin starts from now on. */
  markOrigin(): void;
  signals: OriginSignals;
  attempts: Attempts;
  user: ChangedUser;
  sharables: Sharables;
  earlyConnects: EarlyConnects;
}

/** The origin's groups and workers together: who holds what, who serves where, what follows when one of them goes. */
export class Tree {
  private readonly groups = new Groups();
  private readonly pool: WorkerPool;
  private readonly lifecycle: Lifecycle;
  private readonly giving: Giving;
  private readonly served: Served;
  private readonly growth: Growth;
  private readonly retreat: Retreat;
  private readonly counts = new ConnectionCount();
  private readonly settled = new Settled();
  private readonly asks: Asks;
  private readonly alone: Alone<Worker>;
  private readonly renewal: Renewal<Worker>;
  private readonly succession: Succession<Worker>;
  private readonly shared: SharedSockets<Worker>;
  private readonly hearers: Hearers;
  private readonly ends: EndHearers;

  constructor(private readonly options: TreeOptions) {
    const { plan, birth, clusterLoaded, signals, attempts, user, earlyConnects } = options;
    const { groups } = this;
    const changed = () => signals.refreshGuard();
    this.served = new Served(plan, this.groups, () => this.lifecycle.state === 'full', {
      workers: () => this.growth.indexes,
      tell: (index, core, free) => {
        const workers = this.growth.indexes.length;
        this.giving.tell(index, { kind: 'place', core: core ?? null, free, workers });
      },
      seen: (mask, limits) => this.growth.look(mask, limits),
      vacantSince: (index) => this.growth.vacantSince(index),
    });
    this.pool = new WorkerPool({
      addon: plan.addon,
      birth,
      markName: markerName,
      mark: (index) =>
        `${plan.cpus.cores[index] ?? 'none'}/${index}/${this.growth.indexes.length}/${process.pid}`,
      events: {
        message: (worker, message) => hear(this.hearers, worker, message),
        signal: (_worker, signal) => signals.reported(signal),
        clusterRequest: (act) => this.lifecycle.clusterRequest(act),
        disconnected: (worker) => channelLost(this.hearers, worker),
        exit: (worker, code, signal) => workerEnded(this.ends, worker, code, signal),
        failed: (index, error) => workerNotStarted(this.ends, index, error),
        sockets: (index) =>
          inheritance(index, {
            groups,
            served: this.served,
            shared: this.shared,
            attempts,
            user,
            earlyConnects,
          }),
        changed,
      },
    });
    const { pool, served } = this;
    const giving = new Giving({ pool, groups, attempts, earlyConnects });
    this.giving = giving;
    this.succession = new Succession({ crew: pool, user, exitWaitMs: plan.exitWaitMs });
    this.retreat = new Retreat({ state: options.state, groups, pool, served, changed });
    this.lifecycle = new Lifecycle({
      originStartMs: plan.originStartMs,
      clusterLoaded,
      hooks: {
        groups: () => this.groups,
        start: (index) => this.startWorker(index),
        giveUp: (reason) => this.retreat.giveUp(user.explain(reason)),
        withdraw: (reason) => this.retreat.withdraw(reason),
        multiply: () => this.multiply(),
        endCanary: () => this.retreat.endCopies(),
        appForks,
        unheard: () => this.pool.unheard,
      },
    });
    const { lifecycle, succession } = this;
    const start = (index: number) => this.startWorker(index);
    const kills = succession.memory;
    this.growth = new Growth({ plan, groups, pool, served, lifecycle, user, kills, start });
    this.asks = new Asks({
      attempts,
      group: (key) => this.groups.get(key),
      groups: () => this.groups,
      canary: () => this.lifecycle.state === 'canary',
      elsewhere: (key, known) => this.lifecycle.canaryElsewhere(key, known),
      give: (worker, group) => giving.give(worker, group),
      hand: (worker, handover) => giving.hand(worker, handover),
      release: (worker, key) => this.pool.send(worker, { kind: 'release', key }),
      settled: () => this.settled.now,
    });
    this.alone = new Alone({
      attempts,
      late: this.asks.late,
      workers: () => this.pool.live,
      hand: (worker, handover) => giving.handWithEarly(worker, handover),
    });
    this.shared = new SharedSockets({
      addon: plan.addon,
      sharables: options.sharables,
      workers: () => this.pool.live,
      hand: (worker, handover, fds) => giving.hand(worker, handover, fds),
      send: (worker, message) => this.pool.send(worker, message),
      unfit: (reason) => this.lifecycle.fail(reason),
    });
    this.renewal = new Renewal({
      needed: () => this.lifecycle.state === 'full' && this.groups.size > 0,
      serves: ({ index }) => this.groups.servedBy(index),
      leave: (worker) => this.pool.send(worker, { kind: 'leave' }),
    });
    this.hearers = {
      groups,
      served,
      renewal: this.renewal,
      asks: this.asks,
      lifecycle: this.lifecycle,
      counts: this.counts,
      shared: this.shared,
      attempts,
      changed,
      ready: (worker, key, generation) => this.workerReady(worker, key, generation),
    };
    this.ends = { ...this.hearers, pool, growth: this.growth, succession: this.succession, signals };
    onHandleGiven((fd) => {
      if (groups.give(fd)) changed();
    });
    onClusterFork(() => this.lifecycle.fail('the app forks cluster workers of its own'));
    signals.attach({
      addon: plan.addon,
      relay: (signal) => {
        this.settled.changed();
        this.pool.relay(signal);
      },
      tellExit: (code) => giving.tellAll({ kind: 'exit', code }),
      sockets: () => this.groups.sockets(),
      pids: () => this.pool.pids(),
      waits: () => exitWaits(this.pool.live, plan.exitWaitMs),
    });
  }

  /** Why the app stays, or went back to, one process. */
  get off(): string | undefined {
    return this.retreat.reason;
  }

  /**
   * A group has begun to listen in the origin.
   * @param revived its sockets are those of a group that is closing, and steered to workers that are
   */
  addGroup(group: ListenerGroup, revived = false): void {
    this.groups.add(group);
    this.settled.changed();
    this.served.balancer.watch(group);
    debug(
      'listener group %s: %d sockets, %s',
      group.key,
      group.sockets.length,
      group.hasProgram ? 'steered' : `no steering program (errno ${-group.refused})`,
    );
    this.asks.late.opened(group.key);
    for (const worker of this.pool.live) this.giving.give(worker, group);
    if (revived) this.served.resteer(group);
    if (this.lifecycle.state === 'full') {
      const missing = this.pool.missing(this.options.plan.workers);
      for (const index of this.growth.toReplace(missing)) this.pool.restart(index, SETTLED_MS);
    }
    this.renewal.look();
    if (!judged(group, this.options)) this.lifecycle.groupOpened();
    this.options.signals.refreshGuard();
  }

  /** A group could not be made: the app stays one process, or this address is the origin's alone. */
  groupFailed(key: string, reason: string): void {
    if (!this.lifecycle.groupFailed(reason)) this.alone.add(key, reason);
  }

  holdsPort(port: number): boolean {
    return this.groups.holdsPort(port);
  }

  closingGroup(key: string): ClosingGroup | undefined {
    return this.groups.closingAt(key);
  }

  /** close() on the origin's server, for whatever reason: the whole group closes. */
  closeGroup(group: ListenerGroup, closeHandle: () => void): void {
    const { groups, pool } = this;
    this.served.balancer.forget(group);
    this.settled.changed();
    this.options.attempts.closed(group.key);
    const changed = () => this.options.signals.refreshGuard();
    closeGroup(group, { groups, pool, closeHandle, changed });
    if (groups.size === 0) pool.stopRestarts();
    this.lifecycle.groupClosed();
  }

  countConnections(
    server: ServerInside,
    own: number,
    callback: (error: null, count: number) => void,
  ): boolean {
    const found = this.groups.ofServer(server);
    if (!found) return false;
    const { key, generation } = found.group;
    const tell = (index: number, id: number) =>
      this.giving.tell(index, { kind: 'count', key, generation, id });
    return this.counts.askGroup(found.workers, own, tell, callback);
  }

  /** A worker has this address to itself; `reclaim` calls back when it has given it back. */
  isOwnedByWorker(key: string): boolean {
    return this.asks.late.isOwned(key);
  }

  reclaim(key: string, done: () => void): void {
    this.asks.late.reclaim(key, done);
  }

  liveWorkers(): number {
    return this.pool.live.length;
  }

  private startWorker(index: number): void {
    this.options.markOrigin();
    this.options.signals.watch();
    this.pool.start(index);
  }

  private workerReady(worker: Worker, key: string, generation: number): void {
    const group = this.groups.find(key, generation);
    if (!group) return;
    group.ready.add(worker.index);
    this.pool.serves(worker);
    this.succession.serves(worker);
    this.asks.started.judge(worker);
    if (this.lifecycle.state === 'full') this.served.resteer(group);
    else this.lifecycle.workerReady();
    // when it has its share: whoever reads this may ask it at once
    debug('worker %d is ready on %s', worker.index, key);
  }

  private multiply(): void {
    const { plan, state } = this.options;
    state.active = true;
    debug('the copy serves; %d workers in all', plan.workers);
    this.served.resteerAll();
    for (let index = 2; index <= plan.workers; index++) this.startWorker(index);
  }
}
