// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { debug } from '../log';
import { countDeath, respawnDelay } from './backoff';
import { passOnMessages } from './cluster-messages';
import { isOurs } from './messages';

/**
 * How long a process may take until JavaScript runs in it, before the app's first line. One that finds no room for Node's
 * own threads (pids.max, RLIMIT_NPROC) waits for them for ever (src/node_platform.cc, WorkerThreadsTaskRunner).
 */
const BEGINS_WITHIN_MS = 10_000;

export interface Member {
  readonly index: number;
  readonly process: ChildProcess;
  /** When it first served, undefined before. */
  servedAt?: number;
  /** When it was last told of a signal that usually ends a server. */
  toldAt?: number;
  ended?: boolean;
}

export interface CrewEvents<M extends Member, Message> {
  message(member: M, message: Message): void;
  /** A request of Node's cluster module that only a cluster primary could answer. */
  clusterQuery?(member: M, act: string): void;
  exit(member: M, code: number | null, signal: NodeJS.Signals | null): void;
  /** A worker could not be started at all. */
  failed(index: number, error: Error): void;
}

/** Worker processes by index: who lives, who waits to be started again, and for how long. */
export abstract class Crew<M extends Member, Message> {
  private readonly members = new Map<number, M>();
  private readonly deaths = new Map<number, number>();
  private readonly timers = new Map<number, NodeJS.Timeout>();

  protected constructor(private readonly told: CrewEvents<M, Message>) {}

  /** Starts worker `index` now. */
  abstract start(index: number): void;

  /** This one has ended: what belonged to it goes. */
  protected abstract left(member: M): void;

  get live(): M[] {
    return [...this.members.values()];
  }

  get(index: number): M | undefined {
    return this.members.get(index);
  }

  pids(): number[] {
    return this.live.flatMap(({ process }) => process.pid ?? []);
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
    child.on('internalMessage', (message: { cmd?: string; act?: string; seq?: number }) => {
      if (isOurs<Message>(message)) {
        if (!member.ended) this.told.message(member, message.body);
      } else if (message.cmd === 'NODE_CLUSTER') this.answerCluster(member, message.act, message.seq);
    });
    passOnMessages(index, child);
    this.expect(member);
  }

  /** A cluster worker's first word is 'online' (lib/internal/cluster/child.js, _setupWorker). */
  private expect(member: M): void {
    const timer = setTimeout(() => {
      if (member.ended) return;
      debug('worker %d has not begun within %d ms and is ended', member.index, BEGINS_WITHIN_MS);
      this.kill(member);
    }, BEGINS_WITHIN_MS).unref();
    const clear = () => clearTimeout(timer);
    member.process.once('internalMessage', clear).once('exit', clear);
  }

  /** As a cluster primary would (lib/internal/cluster/primary.js). */
  private answerCluster(member: M, act: string | undefined, seq: number | undefined): void {
    if (act === 'exitedAfterDisconnect')
      member.process.send({ cmd: 'NODE_CLUSTER', ack: seq } as never, () => {});
    else if (act === 'queryServer') this.told.clusterQuery?.(member, act);
  }

  /** True the first time, so that 'error' and 'exit' together count once. */
  private forget(member: M): boolean {
    const { index, servedAt } = member;
    if (member.ended) return false;
    member.ended = true;
    // a canary that was ended may have a successor under its index already
    if (this.members.get(index) === member) this.members.delete(index);
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
    if (!member.process.kill('SIGKILL')) this.askToExit(member);
  }

  protected abstract askToExit(member: M): void;
}
