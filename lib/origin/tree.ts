// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import { markerName } from '../config/environment';
import type { ClosingGroup } from '../group/closing';
import type { ListenerGroup } from '../group/listener-group';
import type { Sharables } from '../hook/sharables';
import type { ServerInside } from '../hook/tcp';
import { debug } from '../log';
import type { OriginSignals } from '../signals/origin-signals';
import { RELOADS } from '../signals/relayed';
import { exitWaits, graceMs } from '../signals/told';
import type { State } from '../state';
import { Lifecycle, SETTLED_MS } from '../workers/lifecycle';
import type { Handover, ToOrigin, ToWorker } from '../workers/messages';
import { type Worker, WorkerPool } from '../workers/pool';
import { Renewal } from '../workers/renewal';
import { Asks } from './asks';
import type { Attempts } from './attempts';
import { judgeCanary } from './canary-end';
import { closeGroup } from './close-group';
import { ConnectionCount } from './connection-count';
import type { EarlyConnects } from './early-connects';
import { appForks, onClusterFork } from './eligible';
import { Groups } from './groups';
import { early, inheritance } from './inheritance';
import { judged } from './judged';
import type { Multiplied } from './plan';
import { Retreat } from './retreat';
import { Served } from './served';
import { SharedSockets } from './shared-sockets';

export interface TreeOptions {
  plan: Multiplied;
  clusterLoaded: boolean;
  state: State;
  birth: Birth;
  /** Marks the programs that the origin starts from now on. */
  markOrigin(): void;
  signals: OriginSignals;
  attempts: Attempts;
  sharables: Sharables;
  earlyConnects: EarlyConnects;
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
  private readonly shared: SharedSockets<Worker>;

  constructor(private readonly options: TreeOptions) {
    const { plan, birth, clusterLoaded, signals, attempts, earlyConnects } = options;
    const { groups } = this;
    const changed = () => signals.refreshGuard();
    this.served = new Served(plan, this.groups, () => this.lifecycle.state === 'full');
    this.pool = new WorkerPool({
      addon: plan.addon,
      birth,
      markName: markerName,
      mark: (index) => `${plan.cores[index] ?? 'none'}/${index}/${plan.workers}/${process.pid}`,
      events: {
        message: (worker, message) => this.message(worker, message),
        signal: (_worker, signal) => signals.reported(signal),
        clusterRequest: (act) => this.lifecycle.clusterRequest(act),
        exit: (worker, code, signal) => this.workerExited(worker, code, signal),
        failed: (index, error) => this.startFailed(index, error),
        sockets: (index) =>
          inheritance(index, { groups, served: this.served, shared: this.shared, attempts, earlyConnects }),
        changed,
      },
    });
    const { pool, served } = this;
    this.retreat = new Retreat({ state: options.state, groups, pool, served, changed });
    this.lifecycle = new Lifecycle({
      originStartMs: plan.originStartMs,
      clusterLoaded,
      hooks: {
        groups: () => this.groups,
        start: (index) => this.startWorker(index),
        giveUp: (reason) => this.retreat.giveUp(reason),
        withdraw: (reason) => this.retreat.withdraw(reason),
        multiply: () => this.multiply(),
        endCanary: () => this.retreat.endCopies(),
        appForks,
        unheard: () => this.pool.unheard,
      },
    });
    this.asks = new Asks({
      attempts,
      group: (key) => this.groups.get(key),
      canary: () => this.lifecycle.state === 'canary',
      elsewhere: (key, known) => this.lifecycle.canaryElsewhere(key, known),
      give: (worker, group) => this.give(worker, group),
      hand: (worker, handover) => this.hand(worker, handover, []),
      release: (worker, key) => this.pool.send(worker, { kind: 'release', key }),
    });
    this.shared = new SharedSockets({
      addon: plan.addon,
      sharables: options.sharables,
      workers: () => this.pool.live,
      hand: (worker, handover, fds) => this.hand(worker, handover, fds),
      send: (worker, message) => this.pool.send(worker, message),
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
      group.hasProgram ? 'steered' : `no steering program (errno ${-group.refused})`,
    );
    this.asks.late.opened(group.key);
    for (const worker of this.pool.live) this.give(worker, group);
    if (revived) this.served.resteer(group);
    if (this.lifecycle.state === 'full') {
      for (const index of this.pool.missing(this.options.plan.workers)) this.pool.restart(index, SETTLED_MS);
    }
    this.renewal.look();
    if (!judged(group, this.options)) this.lifecycle.groupOpened();
    this.options.signals.refreshGuard();
  }

  /** A group could not be made: the app stays one process, or this address is the origin's alone. */
  groupFailed(key: string, reason: string): void {
    if (!this.lifecycle.groupFailed(reason)) debug('%s is served by one process: %s', key, reason);
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
    const tell = (index: number, id: number) => {
      const worker = this.pool.get(index);
      if (worker) this.pool.send(worker, { kind: 'count', key, generation, id });
      return worker !== undefined;
    };
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
    if (worker.killed) return;
    const { fds, handover } = this.groups.handover(worker.index, [group]);
    this.hand(worker, { ...handover, ...early(this.options.earlyConnects) }, fds);
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
      case 'unable':
        if (!this.lifecycle.copyFailed(message.reason)) debug('worker %d: %s', worker.index, message.reason);
        return;
      case 'probed':
        return this.options.attempts.closedInCopy(message.key);
      case 'arrivals':
        return this.served.arrived(message.cpus);
      case 'connections':
        return this.counts.answered(message.id, worker.index, message.count);
      default:
        return this.shared.message(worker, message);
    }
  }

  private workerReady(worker: Worker, key: string, generation: number): void {
    const group = this.groups.find(key, generation);
    if (!group) return;
    group.ready.add(worker.index);
    this.pool.serves(worker);
    debug('worker %d is ready on %s', worker.index, key);
    if (this.lifecycle.state === 'full') this.served.resteer(group);
    else this.lifecycle.workerReady();
  }

  private workerExited(worker: Worker, code: number | null, signal: string | null): void {
    const { index } = worker;
    debug('worker %d ended (code %s, signal %s)', index, code, signal);
    this.renewal.exited(worker);
    this.counts.workerLeft(index);
    this.asks.late.workerLeft(worker);
    // a canary that was ended may have a successor under its index already
    const successor = this.pool.get(index);
    const replaced = successor !== undefined;
    if (!replaced) this.served.balancer.vacate(index);
    this.groups.ended(index, successor?.startedAt);
    this.shared.workerLeft(worker, replaced);
    const { toldAt } = worker;
    if (this.lifecycle.state === 'canary') {
      if (replaced) return;
      return judgeCanary(this.lifecycle, this.options.signals, { code, signal, told: toldAt !== undefined });
    }
    this.served.resteerAll();
    if (this.lifecycle.state !== 'full' || this.groups.size === 0) return;
    // a worker that ends after SIGTERM ends as the app wants it; if the origin is still there much later, it does not
    const delay = this.pool.restart(index, graceMs(worker, this.options.plan.exitWaitMs));
    debug('worker %d is started again in %d ms', index, delay);
    this.served.lookAfterQueues();
  }

  private startFailed(index: number, error: Error): void {
    this.served.balancer.vacate(index);
    for (const group of this.groups) group.holders.delete(index); // it has held nothing: what has left stays away
    this.shared.notStarted(index);
    if (this.lifecycle.copyFailed(error.message)) return;
    if (this.lifecycle.state !== 'full' || this.groups.size === 0) return;
    debug('worker %d could not be started: %s', index, error.message);
    this.pool.restart(index, 0);
  }

  private multiply(): void {
    const { plan, state } = this.options;
    state.active = true;
    debug('the copy serves; %d workers in all', plan.workers);
    this.served.resteerAll();
    for (let index = 2; index <= plan.workers; index++) this.startWorker(index);
  }
}
