// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import { markerName } from '../config/environment';
import { MemoryKills } from '../cpu/memory-kills';
import { readText } from '../cpu/read';
import type { ClosingGroup } from '../group/closing';
import type { ListenerGroup } from '../group/listener-group';
import type { ServerInside } from '../hook/tcp';
import { debug, say } from '../log';
import type { OriginSignals } from '../signals/origin-signals';
import { RELOADS } from '../signals/relayed';
import { exitWaits, graceMs } from '../signals/told';
import type { State } from '../state';
import { Barred } from '../workers/barred';
import { endOf, Lifecycle, SETTLED_MS } from '../workers/lifecycle';
import type { Handover, ToOrigin, ToWorker } from '../workers/messages';
import { type Worker, WorkerPool } from '../workers/pool';
import { Renewal } from '../workers/renewal';
import { Asks } from './asks';
import type { Attempts } from './attempts';
import { judgeCanary } from './canary-end';
import type { ChangedUser } from './changed-user';
import { closeGroup } from './close-group';
import { ConnectionCount } from './connection-count';
import { appForks, onClusterFork } from './eligible';
import { Groups } from './groups';
import type { Multiplied } from './plan';
import { Retreat } from './retreat';
import { Served } from './served';

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
}

/** The origin's groups and workers together: who holds what, who serves where, what follows when one of them goes. */
export class Tree {
  private readonly groups = new Groups();
  private readonly pool: WorkerPool;
  private readonly lifecycle: Lifecycle;
  private readonly served: Served;
  private readonly retreat: Retreat;
  private readonly counts = new ConnectionCount();
  private readonly asks: Asks;
  private readonly renewal: Renewal<Worker>;
  private readonly barred: Barred;
  private readonly memory = new MemoryKills(readText);

  constructor(private readonly options: TreeOptions) {
    const { plan, birth, clusterLoaded, signals, user } = options;
    this.barred = new Barred(() => user.now, say);
    const changed = () => signals.refreshGuard();
    this.served = new Served(
      plan,
      this.groups,
      () => this.lifecycle.state === 'full',
      (index, core, free) => this.tell(index, { kind: 'place', core: core ?? null, free }),
    );
    this.pool = new WorkerPool({
      addon: plan.addon,
      birth,
      markName: markerName,
      mark: (index) => `${plan.cores[index] ?? 'none'}/${index}/${plan.workers}/${process.pid}`,
      events: {
        message: (worker, message) => this.message(worker, message),
        signal: (_worker, signal) => signals.reported(signal),
        clusterQuery: (_worker, act) =>
          this.lifecycle.state === 'canary' &&
          this.lifecycle.fail(`the copy sent a cluster request (${act}) that has no primary to answer it`),
        exit: (worker, code, signal) => this.workerExited(worker, code, signal),
        failed: (index, error) => this.startFailed(index, error),
        sockets: (index) => {
          const { fds, handover } = this.groups.handover(index);
          const own = this.served.balancer.seat(index);
          const seat = own.length > 0;
          const inherited = { refused: options.attempts.history, credentials: user.inherited };
          return { fds, own, handover: { ...handover, seat, ...inherited } };
        },
        changed,
      },
    });
    const { groups, pool, served } = this;
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
      },
    });
    this.asks = new Asks({
      attempts: options.attempts,
      group: (key) => this.groups.get(key),
      canary: () => this.lifecycle.state === 'canary',
      elsewhere: (key, known) => this.lifecycle.canaryElsewhere(key, known),
      give: (worker, group) => this.give(worker, group),
      hand: (worker, handover) => this.hand(worker, handover, []),
      release: (worker, key) => this.pool.send(worker, { kind: 'release', key }),
    });
    this.renewal = new Renewal({
      needed: () => this.lifecycle.state === 'full' && this.groups.size > 0,
      serves: ({ index }) => this.groups.servedBy(index),
      leave: (worker) => this.pool.send(worker, { kind: 'leave' }),
    });
    onClusterFork(() => this.lifecycle.fail('the app forks cluster workers of its own'));
    signals.attach({
      addon: plan.addon,
      relay: (signal) => this.relay(signal),
      tellExit: (code) => this.tellAll({ kind: 'exit', code }),
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
    this.served.balancer.watch(group);
    debug(
      'listener group %s: %d sockets, %s',
      group.key,
      group.sockets.length,
      group.hasProgram ? 'steered' : 'no steering program',
    );
    this.asks.late.opened(group.key);
    for (const worker of this.pool.live) this.give(worker, group);
    if (revived) this.served.resteer(group);
    if (this.lifecycle.state === 'full') {
      for (const index of this.pool.missing(this.options.plan.workers)) this.pool.restart(index, SETTLED_MS);
    }
    this.renewal.look();
    this.lifecycle.groupOpened();
    this.options.signals.refreshGuard();
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
    const tell = (index: number, id: number) => this.tell(index, { kind: 'count', key, generation, id });
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

  private tell(index: number, message: ToWorker): boolean {
    const worker = this.pool.get(index);
    if (worker) this.pool.send(worker, message);
    return worker !== undefined;
  }

  private tellAll(message: ToWorker): void {
    for (const worker of this.pool.live) this.pool.send(worker, message);
  }

  private relay(signal: number): void {
    for (const worker of this.pool.live) worker.toldAt = performance.now();
    this.tellAll({ kind: 'signal', signal });
  }

  private startWorker(index: number): void {
    this.options.markOrigin();
    this.options.signals.watch();
    this.pool.start(index);
  }

  private give(worker: Worker, group: ListenerGroup): void {
    const { fds, handover } = this.groups.handover(worker.index, [group]);
    this.hand(worker, handover, fds);
  }

  private hand(worker: Worker, handover: Handover, fds: number[]): void {
    const sent = this.pool.hand(worker, handover, fds);
    if (sent < 0) debug('worker %d could not be given its sockets (errno %d)', worker.index, -sent);
    this.pool.send(worker, { kind: 'look' });
  }

  private message(worker: Worker, message: ToOrigin): void {
    switch (message.kind) {
      case 'ready':
        return this.workerReady(worker, message.key, message.generation);
      case 'gone': {
        const group = this.groups.gone(worker.index, message.key, message.generation);
        if (group) this.served.resteer(group);
        return;
      }
      case 'closed':
        this.groups.left(worker.index, message.key, message.generation);
        if (!this.groups.servedBy(worker.index)) this.renewal.closed(worker);
        return;
      case 'ask':
        return this.asks.asked(worker, message.keys);
      case 'released':
        return this.asks.late.released(worker, message.key);
      case 'dropped':
        return this.groups.dropped(worker.index, message.key, message.generation);
      case 'stays':
        if (RELOADS.has(message.signal)) delete worker.toldAt;
        return;
      case 'probed':
        return this.options.attempts.closedInCopy(message.key);
      case 'displaced':
        return this.served.displaced();
      case 'arrivals':
        return this.served.arrived(message.cpus);
      case 'connections':
        return this.counts.answered(message.id, worker.index, message.count);
    }
  }

  private workerReady(worker: Worker, key: string, generation: number): void {
    const group = this.groups.find(key, generation);
    if (!group) return;
    group.ready.add(worker.index);
    worker.servedAt ??= performance.now();
    this.barred.served(worker.index);
    debug('worker %d is ready on %s', worker.index, key);
    if (this.lifecycle.state === 'full') this.served.resteer(group);
    else this.lifecycle.workerReady();
  }

  private workerExited(worker: Worker, code: number | null, signal: string | null): void {
    const { index } = worker;
    debug('worker %d ended (code %s, signal %s%s)', index, code, signal, this.memory.cause(signal));
    this.renewal.exited(worker);
    this.counts.workerLeft(index);
    this.asks.late.workerLeft(worker);
    // a canary that was ended may have a successor under its index already
    const replaced = this.pool.get(index) !== undefined;
    if (!replaced) this.served.balancer.vacate(index);
    this.groups.ended(index, replaced);
    const { toldAt, servedAt } = worker;
    if (this.lifecycle.state === 'canary') {
      if (replaced) return;
      return judgeCanary(this.lifecycle, this.options.signals, { code, signal, told: toldAt !== undefined });
    }
    this.served.resteerAll();
    if (this.lifecycle.state !== 'full' || this.groups.size === 0) return;
    // a worker that ends after SIGTERM ends as the app wants it; if the origin is still there much later, it does not
    const grace = graceMs(worker, this.options.plan.exitWaitMs);
    const barredMs = servedAt === undefined ? this.barred.failed(index, endOf(code, signal)) : 0;
    const delay = this.pool.restart(index, Math.max(grace, barredMs));
    debug('worker %d is started again in %d ms', index, delay);
    this.served.lookAfterQueues();
  }

  private startFailed(index: number, error: Error): void {
    this.served.balancer.vacate(index);
    for (const group of this.groups) group.holders.delete(index); // it has held nothing: what has left stays away
    if (this.lifecycle.state === 'canary')
      return this.lifecycle.fail(`the copy could not be started: ${error.message}`);
    if (this.lifecycle.state !== 'full' || this.groups.size === 0) return;
    debug('worker %d could not be started: %s', index, error.message);
    this.pool.restart(index, this.barred.failed(index, `could not be started: ${error.message}`));
  }

  private multiply(): void {
    const { plan, state } = this.options;
    state.active = true;
    debug('the copy serves; %d workers in all', plan.workers);
    this.served.resteerAll();
    for (let index = 2; index <= plan.workers; index++) this.startWorker(index);
  }
}
