// SPDX-License-Identifier: Apache-2.0
import { availableParallelism, fixAvailableParallelism } from '../hook/node';
import { debug, debugOnce } from '../log';
import type { Addon } from '../native/addon';

/** Native addons start threads at their first use, from the pinned thread: looked for soon, then now and then. */
const SWEEPS_MS = [50, 250, 1_000];
const SWEEP_EVERY_MS = 2_000;

/** The event loop of this process: on which CPU it is to run, and whether it does. */
export class EventLoop {
  /** Its mask as it was last seen. */
  private seen = '';
  private pinned = false;
  private sweeping = false;

  /** @param displaced the loop is not where it was: the kernel or somebody else has given it another mask */
  constructor(
    private readonly addon: Addon,
    private readonly displaced: () => void,
  ) {}

  /**
   * Pins the event loop's thread, and it alone. libuv's pool threads are made first, because a thread inherits the mask
   * of its maker (pthread_create(3)); a child process gets the original mask in the addon's pthread_atfork handler.
   * @returns whether it could be pinned
   */
  private pin(core: number): boolean {
    const { addon } = this;
    const parallelism = availableParallelism();
    addon.startThreadPool();
    const error = addon.pinEventLoop(core);
    if (error < 0) {
      debug('not pinned to CPU %d (errno %d)', core, -error);
      return false;
    }
    this.pinned = true;
    fixAvailableParallelism(parallelism);
    this.seen = String(core);
    this.sweep();
    return true;
  }

  /**
   * Its CPU is another one from now on, or none.
   * @param free where all else may run, see Addon.unpinEventLoop(); undefined: where the loop may run now. What the loop may
   *   use now can be the CPUs of before: the kernel changes the threads of a control group one after the other.
   * @returns whether it is pinned
   */
  move(core: number | undefined, free?: readonly number[]): boolean {
    const { addon } = this;
    if (free && (this.pinned || core !== undefined)) this.free(free);
    if (core !== undefined && this.pin(core)) return true;
    this.seen = String(addon.getAffinity(0));
    return false;
  }

  private free(cpus: readonly number[]): void {
    const error = this.addon.unpinEventLoop([...cpus]);
    if (error < 0)
      debugOnce('what this process starts stays on its CPU: sched_setaffinity fails (errno %d)', -error);
    this.pinned = false;
    fixAvailableParallelism(undefined);
  }

  private sweep(): void {
    const { addon, sweeping } = this;
    this.sweeping = true;
    for (const ms of SWEEPS_MS) setTimeout(() => addon.sweepThreads(), ms).unref();
    if (!sweeping) setInterval(() => this.look(), SWEEP_EVERY_MS).unref();
  }

  private look(): void {
    this.addon.sweepThreads();
    const mask = String(this.addon.getAffinity(0));
    if (mask === this.seen) return;
    this.seen = mask;
    this.displaced();
  }
}
