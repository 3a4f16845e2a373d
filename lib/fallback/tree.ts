// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import { markerName } from '../config/environment';
import { debug, say } from '../log';
import type { Attempts } from '../origin/attempts';
import { judgeCanary } from '../origin/canary-end';
import type { ChangedUser } from '../origin/changed-user';
import type { EarlyConnects } from '../origin/early-connects';
import { appForks, onClusterFork } from '../origin/eligible';
import { early } from '../origin/inheritance';
import { becomeSingle } from '../origin/single';
import type { OriginSignals } from '../signals/origin-signals';
import { RELAYED, RELOADS } from '../signals/relayed';
import { exitWaits, graceMs } from '../signals/told';
import type { State } from '../state';
import { LEAVE_MS, Lifecycle, SETTLED_MS } from '../workers/lifecycle';
import { Renewal } from '../workers/renewal';
import { Succession } from '../workers/succession';
import type { FallbackGroup } from './group';
import { FallbackGroups } from './groups';
import { type Asked, writeMark } from './mark';
import type { ToOrigin } from './messages';
import type { FallbackPlan } from './plan';
import { FallbackPool, type FallbackWorker } from './pool';
import { signalFace } from './processes';
import { Questions } from './questions';

export interface FallbackTreeOptions {
  plan: FallbackPlan;
  clusterLoaded: boolean;
  state: State;
  birth: Birth;
  /** Marks the programs that the origin starts from now on. */
  markOrigin(): void;
  signals: OriginSignals;
  attempts: Attempts;
  user: ChangedUser;
  earlyConnects: EarlyConnects;
}

/** The origin's groups and workers together, where there is no addon. */
export class FallbackTree {
  /** Why the app stays, or went back to, one process. */
  off: string | undefined;
  readonly groups: FallbackGroups;
  private readonly pool: FallbackPool;
  private readonly lifecycle: Lifecycle;
  private readonly questions: Questions;
  private readonly renewal: Renewal<FallbackWorker>;
  private readonly succession: Succession<FallbackWorker>;

  constructor(private readonly options: FallbackTreeOptions) {
    const { plan, birth, clusterLoaded, signals, attempts, user } = options;
    this.pool = new FallbackPool({
      birth,
      markName: markerName,
      mark: (index) => {
        const { workers, cores } = plan;
        return writeMark({ core: cores[index], index, workers, pid: process.pid, asked: this.asked() });
      },
      prefix: (index) => plan.prefixes[index] ?? [],
      events: {
        message: (worker, message) => this.message(worker, message),
        clusterRequest: (act) => this.lifecycle.clusterRequest(act),
        disconnected: ({ index }) => this.groups.workerLeft(index),
        exit: (worker, code, signal) => this.workerExited(worker, code, signal),
        failed: (index, error) => this.startFailed(index, error),
      },
    });
    this.groups = new FallbackGroups(this.pool);
    this.succession = new Succession({ crew: this.pool, user, exitWaitMs: plan.exitWaitMs });
    this.lifecycle = new Lifecycle({
      originStartMs: plan.originStartMs,
      clusterLoaded,
      hooks: {
        groups: () => this.groups.all,
        start: (index) => this.startWorker(index),
        giveUp: (reason) => this.giveUp(user.explain(reason)),
        withdraw: (reason) => this.withdraw(reason),
        multiply: () => this.multiply(),
        endCanary: () => this.killAll(),
        appForks,
        unheard: () => this.pool.unheard,
      },
    });
    this.renewal = new Renewal({
      needed: () => this.lifecycle.state === 'full' && this.groups.size > 0,
      serves: ({ index }) => this.groups.serves(index),
      leave: (worker) => this.pool.send(worker, { kind: 'leave' }),
    });
    this.questions = new Questions({
      attempts,
      group: (key) => this.groups.get(key),
      groups: () => this.groups.all,
      canary: () => this.lifecycle.state === 'canary',
      elsewhere: (key, known) => this.lifecycle.canaryElsewhere(key, known),
      send: (worker, message, handle) => this.pool.send(worker, message, handle),
    });
    onClusterFork(() => this.lifecycle.fail('the app forks cluster workers of its own'));
    signals.attach({
      addon: signalFace(),
      relay: (signal) => this.pool.relay(signal),
      tellExit: (code) => this.pool.live.forEach((worker) => this.pool.send(worker, { kind: 'exit', code })),
      sockets: () => [],
      pids: () => this.pool.pids(),
      waits: () => exitWaits(this.pool.live, plan.exitWaitMs),
    });
  }

  /** A group has begun to listen in the origin. */
  addGroup(group: FallbackGroup): void {
    this.groups.add(group);
    debug(
      'listener group %s: %s',
      group.key,
      group.partitioned ? 'a socket for each worker' : 'one shared socket',
    );
    const asked = this.asked();
    if (asked) for (const worker of this.pool.live) this.pool.send(worker, { kind: 'asked', asked });
    this.questions.groupOpened();
    if (this.lifecycle.state === 'full') {
      for (const index of this.pool.missing(this.options.plan.workers)) this.pool.restart(index, SETTLED_MS);
    }
    this.renewal.look();
    this.lifecycle.groupOpened();
  }

  /** close() on the origin's server, for whatever reason: the whole group closes. */
  closeGroup(group: FallbackGroup, closeHandle: () => void): void {
    this.options.attempts.closed(group.key);
    this.groups.close(group, closeHandle);
    if (this.groups.size === 0) {
      this.pool.stopRestarts();
      // those that have not come to listen yet would do it alone now
      for (const worker of this.pool.live) if (worker.servedAt === undefined) this.pool.kill(worker);
    }
    this.lifecycle.groupClosed();
  }

  /** What the app has asked about its own ports; most apps do not. */
  private asked(): Asked | undefined {
    const { early: list } = early(this.options.earlyConnects, this.options.attempts);
    return list && { early: list, keys: [...this.groups.all].map(({ key }) => key) };
  }

  liveWorkers(): number {
    return this.pool.live.length;
  }

  private killAll(): void {
    for (const worker of this.pool.live) this.pool.kill(worker);
  }

  private startWorker(index: number): void {
    this.options.markOrigin();
    this.options.signals.watch();
    this.pool.start(index);
  }

  private message(worker: FallbackWorker, message: ToOrigin): void {
    switch (message.kind) {
      case 'ask':
        return this.questions.ask({ worker, id: message.id, keys: message.keys });
      case 'ready':
        return this.workerReady(worker, message.key, message.generation);
      case 'gone':
        return this.groups.workerGone(worker.index, message.key, message.generation);
      case 'ended':
        return this.groups.connectionsEnded(worker.index, message.generation);
      case 'closed':
        this.groups.workerClosed(worker.index, message.key, message.generation);
        if (!this.groups.serves(worker.index)) this.renewal.closed(worker);
        return;
      case 'probed':
        return this.options.attempts.closedInCopy(message.key);
      case 'signal':
        return this.reported(worker, message.signal);
      case 'stays':
        if (RELOADS.has(message.signal)) delete worker.toldAt;
        return;
      case 'unable':
        if (!this.lifecycle.copyFailed(message.reason)) debug('worker %d: %s', worker.index, message.reason);
        return;
      case 'connections':
        return this.groups.counts.answered(message.id, worker.index, message.count);
    }
  }

  private reported(worker: FallbackWorker, signal: number): void {
    if (worker.singled !== signal) return this.options.signals.reported(signal);
    delete worker.singled;
  }

  private workerReady(worker: FallbackWorker, key: string, generation: number): void {
    const group = this.groups.find(key, generation);
    if (!group) return;
    group.workerReady(worker.index);
    this.pool.serves(worker);
    this.succession.serves(worker);
    this.questions.started.judge(worker);
    debug('worker %d is ready on %s', worker.index, key);
    this.lifecycle.workerReady();
  }

  private workerExited(worker: FallbackWorker, code: number | null, signal: NodeJS.Signals | null): void {
    const { index } = worker;
    this.succession.ended(worker, code, signal);
    this.renewal.exited(worker);
    // a canary that was ended may have a successor under its index already
    const replaced = this.pool.get(index) !== undefined;
    this.groups.workerExited(index, replaced);
    this.questions.workerLeft(worker);
    // without a handler, a signal that reaches a worker directly ends it before it can report it
    const grace = graceMs(worker, this.options.plan.exitWaitMs);
    const direct = grace === 0 && !worker.ordered ? RELAYED.get(signal ?? '') : undefined;
    if (direct !== undefined) this.options.signals.reported(direct);
    if (this.lifecycle.state === 'canary') {
      if (replaced) return;
      return judgeCanary(this.lifecycle, this.options.signals, {
        code,
        signal,
        told: worker.toldAt !== undefined || worker.ordered === true,
      });
    }
    if (this.lifecycle.state !== 'full' || this.groups.size === 0) return;
    const end = this.pool.servedEnd(worker, code, signal);
    if (end && this.lifecycle.workerExited(end)) return;
    this.succession.follow(worker, code, signal);
  }

  private startFailed(index: number, error: Error): void {
    if (this.lifecycle.state === 'canary')
      return this.lifecycle.fail(`the copy could not be started: ${error.message}`);
    if (this.lifecycle.state !== 'full' || this.groups.size === 0) return;
    this.succession.notStarted(index, error);
  }

  private multiply(): void {
    const { plan, state } = this.options;
    state.active = true;
    state.reason = plan.notice;
    say(plan.notice);
    debug('the copy serves; %d workers in all', plan.workers);
    this.questions.canaryServes();
    for (let index = 2; index <= plan.workers; index++) this.startWorker(index);
  }

  private withdraw(reason: string): void {
    this.endMultiplying(reason);
    for (const worker of this.pool.live) this.pool.send(worker, { kind: 'leave' });
  }

  private endMultiplying(reason: string): void {
    this.off = reason;
    becomeSingle(this.options.state, reason);
    this.pool.stopRestarts();
  }

  /** The copy may be serving what the kernel has given it: it closes, and is ended soon after. */
  private giveUp(reason: string): void {
    this.endMultiplying(reason);
    const serving = this.pool.live.filter(({ servedAt }) => servedAt !== undefined);
    for (const worker of serving) this.pool.send(worker, { kind: 'leave' });
    setTimeout(() => this.killAll(), serving.length > 0 ? LEAVE_MS : 0).unref();
  }
}
