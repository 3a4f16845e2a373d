// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { onClusterListener } from '../hook/cluster-workers';
import { debug } from '../log';
import { SAME_SIGNAL_MS } from '../signals/origin-signals';
import { countDeath, respawnDelay } from './backoff';
import { type ServedEnd, SOON_MS } from './lifecycle';
import { isOurs } from './messages';
import { Speaker, type SpeakerOrders } from './speaker';
import { Unheard } from './unheard';
import { isReport, passOnReports } from './watch-messages';

/** What Node's cluster tells its primary without waiting for an answer (lib/internal/cluster/child.js). */
const TOLD: ReadonlySet<string> = new Set(['online', 'listening', 'close']);
/** UV_ENOTSUP */
const NOT_SUPPORTED = -95;

/**
 * How long a process may take until JavaScript runs in it, before the app's first line. One that finds no room for Node's
 * own threads (pids.max, RLIMIT_NPROC) waits for them for ever (src/node_platform.cc, WorkerThreadsTaskRunner).
 */
const BEGINS_WITHIN_MS = 10_000;
/** In steps, so that time in which this process stands still itself (a container that is paused) counts as one of them. */
const STEP_MS = 1_000;
/** A process that ends by one of these has most often made it itself: an assertion of a native addon, a fatal error of V8. */
const CRASHES: ReadonlySet<string> = new Set(
  'SIGABRT SIGBUS SIGFPE SIGILL SIGSEGV SIGSYS SIGTRAP'.split(' '),
);
/** How long a worker without a channel has for its end by a signal of the app's. */
const DEAF_MS = 1_000;

export interface Member {
  readonly index: number;
  readonly process: ChildProcess;
  /** When it first served, undefined before. */
  servedAt?: number;
  /** It has come to listen wherever the others do. */
  started?: boolean;
  /** When it was last told of a signal that usually ends a server. */
  toldAt?: number;
  /** The last signal that was for all, by performance.now(). */
  relayed?: { signal: number; at: number };
  /** The last one that was for this one alone (worker.kill()). */
  singled?: number;
  /** The app has asked for its end, or has sent it a signal: it ends as it was told. */
  ordered?: boolean;
  /** It is ending: what it is given now it may have until then, and nobody waits for that. */
  killed?: boolean;
  /** It has given up its channel, or is about to: it is given nothing any more. */
  parted?: boolean;
  /** The app there has disconnected it (cluster.worker.disconnect(), kill()): it ends as it was told. */
  leaves?: boolean;
  ended?: boolean;
}

export interface CrewEvents<M extends Member, Message> {
  message(member: M, message: Message): void;
  /** A request to a cluster primary, which only such a one could answer. */
  clusterRequest(act: string): void;
  /** Its channel has gone: it cannot be told anything, and tells nothing. It may live on for a while. */
  disconnected?(member: M): void;
  exit(member: M, code: number | null, signal: NodeJS.Signals | null): void;
  /** A worker could not be started at all. */
  failed(index: number, error: Error): void;
}

/** Worker processes by index: who lives, who waits to be started again, and for how long. */
export abstract class Crew<M extends Member, Message> {
  private readonly members = new Map<number, M>();
  private readonly deaths = new Map<number, number>();
  private readonly timers = new Map<number, NodeJS.Timeout>();
  private readonly speakers = new Map<M, Speaker>();
  private readonly words = new Unheard();
  private toldOfListeners = false;

  protected constructor(private readonly told: CrewEvents<M, Message>) {}

  /** Starts worker `index` now. */
  abstract start(index: number): void;

  abstract send(member: M, order: { kind: 'disconnect' } | { kind: 'signal'; signal: number }): void;

  /** Sends the signal itself, for this one alone; a handler of the app there waits for send(). */
  protected abstract strike(member: M, signal: number): void;

  /** This one has ended: what belonged to it goes. */
  protected abstract left(member: M): void;

  get live(): M[] {
    return [...this.members.values()];
  }

  get(index: number): M | undefined {
    return this.members.get(index);
  }

  /** How many there are, or are about to be. */
  get size(): number {
    return new Set([...this.members.keys(), ...this.timers.keys()]).size;
  }

  pids(): number[] {
    return this.live.flatMap(({ process }) => process.pid ?? []);
  }

  /** How this one has ended; undefined where it has never served. */
  servedEnd(
    { servedAt, toldAt, ordered, leaves, killed }: M,
    code: number | null,
    signal: string | null,
  ): ServedEnd | undefined {
    if (servedAt === undefined) return undefined;
    const told = toldAt !== undefined || ordered || leaves || killed;
    const byItself = !told && (signal === null || CRASHES.has(signal));
    return { code, signal, servedAt, byItself, othersLast: this.someLast() };
  }

  private someLast(): boolean {
    return this.live.some(
      ({ servedAt }) => servedAt !== undefined && performance.now() - servedAt >= SOON_MS,
    );
  }

  /** What a worker has said to a cluster primary that nobody heard; undefined where there was nothing. */
  get unheard(): string | undefined {
    return this.words.first;
  }

  /** This one has come to serve. */
  serves(member: M): void {
    member.servedAt ??= performance.now();
    this.speakers.get(member)?.serves();
    if (this.toldOfListeners) return;
    this.toldOfListeners = true;
    onClusterListener(() => {
      for (const speaker of this.speakers.values()) speaker.enter();
    });
  }

  protected supervise(member: M): void {
    const { index, process: child } = member;
    this.members.set(index, member);
    child.on('error', (error) => {
      debug('worker %d: %s', index, error.message);
      if (child.pid === undefined && this.forget(member)) this.told.failed(index, error);
    });
    child.on('exit', (code, signal) => {
      if (this.forget(member)) this.told.exit(member, code, signal);
    });
    child.once('disconnect', () => {
      if (!member.ended) this.told.disconnected?.(member);
    });
    child.on('internalMessage', (message: { cmd?: string; act?: string; seq?: number }) => {
      if (isOurs<Message>(message)) {
        if (!member.ended) this.told.message(member, message.body);
      } else if (message.cmd === 'NODE_CLUSTER') this.answerCluster(member, message.act, message.seq);
    });
    passOnReports(child);
    const orders: SpeakerOrders = {
      leave: () => {
        member.ordered = true;
        this.send(member, { kind: 'disconnect' });
      },
      signal: (signal) => this.single(member, signal),
    };
    const heard = new Speaker(index, child, orders, (message, handle) => {
      if (!isReport(message)) this.words.hear(message, handle, member.servedAt !== undefined);
    });
    this.speakers.set(member, heard);
    this.expect(member);
  }

  /** A signal that is for all, to each of them that can be told: whoever has no channel any more does not end for it. */
  relay(signal: number): void {
    const at = performance.now();
    for (const member of this.live) {
      if (!member.process.connected) continue;
      member.toldAt = at;
      member.relayed = { signal, at };
      this.send(member, { kind: 'signal', signal });
    }
  }

  /** The app's worker.kill(). */
  private single(member: M, signal: number): void {
    const { relayed } = member;
    // its handler of a signal that is for all passes it on: it is on its way
    if (relayed?.signal === signal && performance.now() - relayed.at < SAME_SIGNAL_MS) return;
    member.ordered = true;
    member.singled = signal;
    // first: a handler that takes itself off (once) is there still when it comes
    this.strike(member, signal);
    if (member.process.connected) return this.send(member, { kind: 'signal', signal });
    // its handlers hear of nothing any more
    setTimeout(() => {
      if (!member.ended) this.kill(member);
    }, DEAF_MS).unref();
  }

  /** A cluster worker's first word is 'online' (lib/internal/cluster/child.js, _setupWorker). */
  private expect(member: M): void {
    let timer: NodeJS.Timeout | undefined;
    const wait = (ms: number) => {
      timer = setTimeout(() => {
        if (ms > STEP_MS) return wait(ms - STEP_MS);
        debug('worker %d has not begun within %d ms and is ended', member.index, BEGINS_WITHIN_MS);
        this.kill(member);
      }, STEP_MS).unref();
    };
    wait(BEGINS_WITHIN_MS);
    const clear = () => clearTimeout(timer);
    member.process.once('internalMessage', clear).once('exit', clear).once('error', clear);
  }

  /**
   * As a cluster primary would (lib/internal/cluster/primary.js), as far as there is an answer. Whoever waits for another
   * one is told that there is none: a listen() ends in ENOTSUP instead of never.
   */
  private answerCluster(member: M, act: string | undefined, seq: number | undefined): void {
    if (act === undefined || TOLD.has(act)) return;
    const known = act === 'exitedAfterDisconnect';
    if (known) {
      member.leaves = true;
      this.speakers.get(member)?.orderly();
    } else this.told.clusterRequest(act);
    const answer = known ? { ack: seq } : { ack: seq, errno: NOT_SUPPORTED };
    if (member.process.connected) member.process.send({ cmd: 'NODE_CLUSTER', ...answer } as never, () => {});
  }

  /** True the first time, so that 'error' and 'exit' together count once. */
  private forget(member: M): boolean {
    const { index, servedAt } = member;
    if (member.ended) return false;
    member.ended = true;
    // a canary that was ended may have a successor under its index already
    if (this.members.get(index) === member) this.members.delete(index);
    this.speakers.delete(member);
    const served = servedAt === undefined ? 0 : performance.now() - servedAt;
    this.countDeath(index, served);
    this.left(member);
    return true;
  }

  private countDeath(index: number, servedMs: number): void {
    this.deaths.set(index, countDeath(this.deaths.get(index) ?? 0, servedMs));
  }

  /** No process came to be: as good as a death, so that the next attempt waits longer. */
  protected startFailed(index: number, error: Error): void {
    this.countDeath(index, 0);
    this.told.failed(index, error);
  }

  /** Starts worker `index` again, at once the first time, later after a growing delay. Returns that delay in ms. */
  restart(index: number, atLeastMs: number): number {
    const delay = Math.max(atLeastMs, respawnDelay(this.deaths.get(index) ?? 1));
    this.cancel(index);
    this.timers.set(index, setTimeout(() => this.start(index), delay).unref());
    return delay;
  }

  /** Which of the first `count` workers neither live nor wait to be started. */
  missing(count: number): number[] {
    const indexes = Array.from({ length: count }, (_, i) => i + 1);
    return indexes.filter((index) => !this.members.has(index) && !this.timers.has(index));
  }

  protected cancel(index: number): void {
    clearTimeout(this.timers.get(index));
    this.timers.delete(index);
  }

  /** No further worker is started; those that live are left alone. */
  stopRestarts(): void {
    for (const index of [...this.timers.keys()]) this.cancel(index);
  }

  /** One that is another user's by now, since this process has changed its own, can only be asked to end (kill(2): EPERM). */
  kill(member: M): void {
    member.killed = true;
    if (!member.process.kill('SIGKILL')) this.askToExit(member);
  }

  protected abstract askToExit(member: M): void;
}
