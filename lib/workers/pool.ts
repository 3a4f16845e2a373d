// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Birth } from '../birth';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { isRefusal } from '../native/refusals';
import { Crew, type CrewEvents, type Member } from './crew';
import { CONTROL_FD, launch } from './launch';
import { COMMAND, type Handover, type ToOrigin, type ToWorker } from './messages';

const SIGKILL = 9;
const EPIPE = 32;
/** That one message can carry (Addon.send). */
export const MOST_FDS = 250;

export interface Worker extends Member {
  /** Before it was given anything, by performance.now(). */
  readonly startedAt: number;
  /** Our end of the control socket. */
  readonly control: number;
  watch: number;
}

export interface PoolEvents extends CrewEvents<Worker, ToOrigin> {
  /** A signal reached this worker directly. */
  signal(worker: Worker, signal: number): void;
  /** Sockets a worker must have before its first line runs; `own`: descriptors that are nobody else's. */
  sockets(index: number): { fds: number[]; own: number[]; handover: Handover };
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

/** Worker processes with a control socket each, over which they are given listening sockets. Knows nothing of addresses. */
export class WorkerPool extends Crew<Worker, ToOrigin> {
  constructor(private readonly options: PoolOptions) {
    super(options.events);
  }

  /** Forks worker `index`; its sockets are in its control socket before the process exists. */
  start(index: number): void {
    const { addon, birth, markName, mark, events } = this.options;
    const startedAt = performance.now();
    this.cancel(index);
    const pair = addon.pair();
    if (typeof pair === 'number')
      return this.startFailed(index, new Error(`socketpair fails (errno ${-pair})`));
    const [control, theirs] = pair;
    const { fds, own, handover } = events.sockets(index);
    const sent = addon.send(control, JSON.stringify(handover), [...fds, ...own]);
    for (const fd of own) addon.close(fd);
    // what does not fit is asked for
    if (isRefusal(sent)) {
      addon.close(control);
      addon.close(theirs);
      return this.startFailed(index, new Error(`its sockets cannot be sent: sendmsg fails (errno ${-sent})`));
    }
    let child: ChildProcess;
    // a worker sets it for itself, too (set*id and capabilities of the program clear it), but not before its first line
    addon.setChildDeathSignal(SIGKILL);
    try {
      child = launch({ birth, index, controlFd: theirs, mark: `${mark(index)}/${CONTROL_FD}`, markName });
    } catch (error) {
      addon.close(control);
      return this.startFailed(index, error as Error);
    } finally {
      addon.setChildDeathSignal(0);
      addon.close(theirs);
    }
    const worker = { index, process: child, startedAt, control, watch: -1 };
    this.supervise(worker);
    worker.watch = addon.watch(control, (text) => {
      const match = /^signal (\d+)$/.exec(text ?? '');
      if (match) events.signal(worker, Number(match[1]));
    });
    if (worker.watch < 0)
      debug('a signal to worker %d alone is lost: watching fails (errno %d)', index, -worker.watch);
    events.changed();
  }

  protected left({ control, watch }: Worker): void {
    const { addon, events } = this.options;
    if (watch >= 0) addon.unwatch(watch);
    addon.close(control);
    events.changed();
  }

  protected strike({ process: { pid } }: Worker, signal: number): void {
    const error = pid === undefined ? 0 : this.options.addon.signalAlone(pid, signal);
    if (error < 0) debug('a worker is told of a signal only: sigqueue fails (errno %d)', -error);
  }

  protected askToExit(worker: Worker): void {
    this.send(worker, { kind: 'exit', code: 0 });
  }

  send(worker: Worker, body: ToWorker): void {
    if (worker.process.connected) worker.process.send({ cmd: COMMAND, body } as never, () => {});
  }

  /** Queues sockets, or an answer, on the worker's control socket. Returns bytes sent or a negative errno. */
  hand(worker: Worker, handover: Handover, fds: number[]): number {
    return worker.ended ? -EPIPE : this.options.addon.send(worker.control, JSON.stringify(handover), fds);
  }
}
