// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Birth } from '../birth';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import { countDeath, respawnDelay } from '../workers/backoff';
import { launch } from '../workers/launch';
import { COMMAND, isOurs } from '../workers/messages';
import type { ToOrigin, ToWorker } from './messages';

export interface FallbackWorker {
  readonly index: number;
  readonly process: ChildProcess;
  /** When it first served. */
  servedAt?: number;
  /** When it was last told of a signal that usually ends a server. */
  toldAt?: number;
  ended?: boolean;
}

export interface FallbackPoolEvents {
  message(worker: FallbackWorker, message: ToOrigin): void;
  exit(worker: FallbackWorker, code: number | null, signal: NodeJS.Signals | null): void;
  /** A worker could not be started at all. */
  failed(index: number, error: Error): void;
}

export interface FallbackPoolOptions {
  birth: Birth;
  markName: string;
  mark(index: number): string;
  /** Words before node. */
  prefix(index: number): string[];
  events: FallbackPoolEvents;
}

/** Worker processes that are spoken to over their IPC channel alone. Knows nothing of addresses. */
export class FallbackPool {
  private readonly workers = new Map<number, FallbackWorker>();
  private readonly deaths = new Map<number, number>();
  private readonly timers = new Map<number, NodeJS.Timeout>();

  constructor(private readonly options: FallbackPoolOptions) {}

  get live(): FallbackWorker[] {
    return [...this.workers.values()];
  }

  get(index: number): FallbackWorker | undefined {
    return this.workers.get(index);
  }

  pids(): number[] {
    return this.live.flatMap(({ process }) => process.pid ?? []);
  }

  start(index: number): void {
    const { birth, markName, mark, prefix, events } = this.options;
    this.cancel(index);
    try {
      const words = prefix(index);
      const child = launch({
        birth,
        index,
        controlFd: undefined,
        mark: mark(index),
        markName,
        ...(words.length > 0 ? { prefix: words } : {}),
      });
      this.supervise({ index, process: child });
    } catch (error) {
      events.failed(index, error as Error);
    }
  }

  private supervise(worker: FallbackWorker): void {
    const { events } = this.options;
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
      if (isOurs<ToOrigin>(message)) {
        if (this.workers.get(index) === worker) events.message(worker, message.body);
        return;
      }
      // the origin answers what a cluster primary would (lib/internal/cluster/primary.js, exitedAfterDisconnect)
      if (message.cmd !== 'NODE_CLUSTER' || message.act !== 'exitedAfterDisconnect') return;
      child.send({ cmd: 'NODE_CLUSTER', ack: message.seq } as never, () => {});
    });
  }

  /** True the first time, so that 'error' and 'exit' together count once. */
  private forget(worker: FallbackWorker): boolean {
    if (worker.ended) return false;
    worker.ended = true;
    // a canary that was ended may have a successor under its index already
    if (this.workers.get(worker.index) === worker) this.workers.delete(worker.index);
    const served = worker.servedAt === undefined ? 0 : performance.now() - worker.servedAt;
    this.deaths.set(worker.index, countDeath(this.deaths.get(worker.index) ?? 0, served));
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

  private cancel(index: number): void {
    clearTimeout(this.timers.get(index));
    this.timers.delete(index);
  }

  stopRestarts(): void {
    for (const index of [...this.timers.keys()]) this.cancel(index);
  }

  /** Sends a message, with a listening handle beside it or without. */
  send({ process: child }: FallbackWorker, body: ToWorker, handle?: TcpHandle): void {
    if (child.connected) child.send({ cmd: COMMAND, body } as never, handle as never, {}, () => {});
  }

  relay(signal: number): void {
    for (const worker of this.live) {
      worker.toldAt = performance.now();
      this.send(worker, { kind: 'signal', signal });
    }
  }

  kill(worker: FallbackWorker): void {
    worker.process.kill('SIGKILL');
  }
}
