// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Birth } from '../birth';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { countDeath, respawnDelay } from './backoff';
import { CONTROL_FD, launch } from './launch';
import { COMMAND, type Handover, isOurs, type ToOrigin, type ToWorker } from './messages';

const SIGKILL = 9;

export interface Worker {
  readonly index: number;
  readonly process: ChildProcess;
  /** Our end of the control socket, -1 once closed. */
  control: number;
  watch: number;
  readonly startedAt: number;
  /** When it first served, undefined before. */
  servedAt?: number;
  /** When it was last told of a signal that usually ends a server. */
  toldAt?: number;
}

export interface PoolEvents {
  message(worker: Worker, message: ToOrigin): void;
  /** A signal reached this worker directly. */
  signal(worker: Worker, signal: number): void;
  /** A request of Node's cluster module that only a cluster primary could answer. */
  clusterQuery(worker: Worker, act: string): void;
  exit(worker: Worker, code: number | null, signal: string | null): void;
  /** A worker could not be started at all. */
  failed(index: number, error: Error): void;
  /** Sockets a worker must have before its first line runs. */
  sockets(index: number): { fds: number[]; handover: Handover };
  changed(): void;
}

export interface PoolOptions {
  addon: Addon;
  birth: Birth;
  markName: string;
  /** Marker of worker `index`; says which core it is to take. */
  mark(index: number): string;
  events: PoolEvents;
}

/** The worker processes: starts them, speaks to them, and replaces those that die. Knows nothing of addresses. */
export class WorkerPool {
  private readonly workers = new Map<number, Worker>();
  private readonly deaths = new Map<number, number>();
  private readonly timers = new Map<number, NodeJS.Timeout>();

  constructor(private readonly options: PoolOptions) {}

  get live(): Worker[] {
    return [...this.workers.values()];
  }

  get(index: number): Worker | undefined {
    return this.workers.get(index);
  }

  pids(which: (worker: Worker) => boolean = () => true): number[] {
    return this.live
      .filter(which)
      .map((worker) => worker.process.pid ?? 0)
      .filter((pid) => pid > 0);
  }

  /** Forks worker `index`; its sockets are in its control socket before the process exists. */
  start(index: number): void {
    const { addon, birth, markName, mark, events } = this.options;
    this.cancel(index);
    const pair = addon.pair();
    if (typeof pair === 'number')
      return events.failed(index, new Error(`socketpair failed (errno ${-pair})`));
    const [control, theirs] = pair;
    const { fds, handover } = events.sockets(index);
    addon.send(control, JSON.stringify(handover), fds);
    let child: ChildProcess;
    // a worker sets it for itself, too (set*id and capabilities of the program clear it), but not before its first line
    addon.setChildDeathSignal(SIGKILL);
    try {
      child = launch({ birth, index, controlFd: theirs, mark: `${mark(index)}/${CONTROL_FD}`, markName });
    } catch (error) {
      addon.close(control);
      return events.failed(index, error as Error);
    } finally {
      addon.setChildDeathSignal(0);
      addon.close(theirs);
    }
    this.supervise({ index, process: child, control, watch: -1, startedAt: performance.now() });
  }

  private supervise(worker: Worker): void {
    const { addon, events } = this.options;
    const { index, process: child } = worker;
    this.workers.set(index, worker);
    child.on('error', (error) => {
      debug('worker %d: %s', index, error.message);
      if (child.pid === undefined && this.forget(worker)) events.failed(index, error);
    });
    child.on('exit', (code, signal) => {
      if (this.forget(worker)) events.exit(worker, code, signal);
    });
    child.on('internalMessage', (message: { cmd?: string; act?: string; seq?: number }) => {
      if (isOurs<ToOrigin>(message)) return events.message(worker, message.body);
      if (message.cmd !== 'NODE_CLUSTER') return;
      // the origin answers what a cluster primary would (lib/internal/cluster/primary.js, exitedAfterDisconnect)
      if (message.act === 'exitedAfterDisconnect')
        child.send({ cmd: 'NODE_CLUSTER', ack: message.seq } as never, () => {});
      else if (message.act === 'queryServer') events.clusterQuery(worker, message.act);
    });
    worker.watch = addon.watch(worker.control, (text) => {
      const match = /^signal (\d+)$/.exec(text ?? '');
      if (match) events.signal(worker, Number(match[1]));
    });
    events.changed();
  }

  /** True the first time, so that 'error' and 'exit' together count once. */
  private forget(worker: Worker): boolean {
    if (worker.control < 0) return false;
    const { addon, events } = this.options;
    if (worker.watch >= 0) addon.unwatch(worker.watch);
    addon.close(worker.control);
    worker.control = -1;
    if (this.workers.get(worker.index) === worker) this.workers.delete(worker.index);
    const served = worker.servedAt === undefined ? 0 : performance.now() - worker.servedAt;
    this.deaths.set(worker.index, countDeath(this.deaths.get(worker.index) ?? 0, served));
    events.changed();
    return true;
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
    return indexes.filter((index) => !this.workers.has(index) && !this.timers.has(index));
  }

  /** How many replacements are waiting to be started. */
  get waiting(): number {
    return this.timers.size;
  }

  private cancel(index: number): void {
    clearTimeout(this.timers.get(index));
    this.timers.delete(index);
  }

  send(worker: Worker, body: ToWorker): void {
    if (worker.process.connected) worker.process.send({ cmd: COMMAND, body } as never, () => {});
  }

  /** Queues sockets, or an answer, on the worker's control socket. Returns bytes sent or a negative errno. */
  hand(worker: Worker, handover: Handover, fds: number[]): number {
    return this.options.addon.send(worker.control, JSON.stringify(handover), fds);
  }

  /** No further worker is started; those that live are left alone. */
  stopRestarts(): void {
    for (const index of [...this.timers.keys()]) this.cancel(index);
  }

  kill(worker: Worker): void {
    worker.process.kill('SIGKILL');
  }
}
