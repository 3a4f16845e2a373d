// SPDX-License-Identifier: Apache-2.0
import { hookSelfKill } from '../hook/node';
import { debug, debugOnce } from '../log';
import type { Addon } from '../native/addon';
import { isHandled } from './handled';
import { nameOf, RELAYED, RELAYED_NUMBERS } from './relayed';
import type { Wait } from './told';

/** A worker's report waits this long for the origin's own copy of the same signal: systemd, kill -- -pgid reach all. */
const REPORT_WAIT_MS = 50;
/** Copies of one signal to several processes of the tree arrive within this time. */
export const SAME_SIGNAL_MS = 500;
/** Workers that were told of no signal get this long to run their 'exit' handlers when the origin exits. */
const UNTOLD_WAIT_MS = 1_000;

/** What the signals need of the addon; lib/fallback has it in JavaScript. */
export type SignalAddon = Pick<Addon, 'disposition' | 'guard' | 'shutAll' | 'waitGone'>;

/** What the signals need of the workers, once there are any. */
export interface SignalTree {
  addon: SignalAddon;
  /** Passes the signal on to every worker, before the app's own handlers run. */
  relay(signal: number): void;
  /** Asks all workers to exit with this code. */
  tellExit(code: number): void;
  sockets(): number[];
  pids(): number[];
  /** What an exit has to wait for, one after the other. */
  waits(): Wait[];
}

/** The origin's half of the signals (design: "Signals"). */
export class OriginSignals {
  private readonly receivedAt = new Map<number, number>();
  private tree: SignalTree | undefined;
  private watching = false;
  private exiting = false;

  /** From now on there may be workers. */
  attach(tree: SignalTree): void {
    this.tree = tree;
  }

  /** The origin's own copy of a signal, before the app's handlers run. */
  received(signal: number): void {
    this.receivedAt.set(signal, performance.now());
    this.tree?.relay(signal);
  }

  /** A signal reached a worker only (a pid file names its last writer): it counts as if it had come here, once. */
  reported(signal: number): void {
    this.whetherReceived(signal, (received) => {
      if (received) return;
      const name = nameOf(signal);
      if (name === undefined || this.tree?.addon.disposition(signal) === 1) return;
      debug('%s reached a worker only: it acts as if it had come to the origin', name);
      this.receivedAt.set(signal, performance.now());
      process.kill(process.pid, signal);
    });
  }

  /** Answers when a signal that a worker has got would have been handled here, too, if it was meant for all. */
  whetherReceived(signal: number, answer: (received: boolean) => void): void {
    setTimeout(() => {
      const last = this.receivedAt.get(signal) ?? Number.NEGATIVE_INFINITY;
      answer(performance.now() - last < SAME_SIGNAL_MS);
    }, REPORT_WAIT_MS);
  }

  /** When there are workers: what an exit and a default death have to do for them. */
  watch(): void {
    if (this.watching) return;
    this.watching = true;
    process.on('exit', (code) => this.finish(code));
    process.on('removeListener', (event) => {
      if (typeof event === 'string' && RELAYED.has(event)) this.refreshGuard();
    });
    process.on('newListener', (event) => {
      if (typeof event === 'string' && RELAYED.has(event)) setImmediate(() => this.refreshGuard());
    });
    hookSelfKill((signal) => {
      const name = nameOf(signal);
      if (name !== undefined && !isHandled(name)) this.waitForTold();
      return false;
    });
    // before the first fork: from then on somebody else has these sockets, too
    this.refreshGuard();
  }

  /**
   * Tells the addon what to do when the origin dies by a signal that has no handler: shut the sockets and end the
   * workers before the exit status can be seen, so that the port is free then. As PID 1 the default is not death
   * (pid_namespaces(7)), and an ignored signal stays ignored.
   */
  refreshGuard(): void {
    const { tree } = this;
    if (!tree || !this.watching || this.exiting) return;
    const { addon } = tree;
    const signals = RELAYED_NUMBERS.filter((signal) => {
      return process.pid !== 1 && !isHandled(nameOf(signal) as string) && addon.disposition(signal) !== 1;
    });
    const error = addon.guard(signals, tree.sockets(), tree.pids());
    if (error < 0)
      debugOnce('nothing is shut when a signal ends the origin: sigaction fails (errno %d)', -error);
  }

  /** For what is left of the time since the signal: after a reload by SIGHUP nobody is about to end. */
  private waitForTold(): void {
    const { tree } = this;
    if (!tree) return;
    for (const { pids, until } of tree.waits()) {
      const left = tree.addon.waitGone(Math.max(0, Math.ceil(until - performance.now())), pids);
      if (left > 0) debug('%d workers had not ended in time after the signal', left);
    }
  }

  private finish(code: number): void {
    const { tree } = this;
    if (!tree || this.exiting) return;
    this.waitForTold();
    tree.tellExit(code);
    this.exiting = true;
    const pids = tree.pids();
    if (pids.length > 0) tree.addon.waitGone(UNTOLD_WAIT_MS, pids);
    tree.addon.guard([], tree.sockets(), tree.pids());
    tree.addon.shutAll();
  }
}
