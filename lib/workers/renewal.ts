// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';

/** How long a copy whose servers have been closed may take to listen again by itself. */
export const RENEW_AFTER_MS = 1_000;

export interface RenewalHooks<W> {
  /** The origin listens on something. */
  needed(): boolean;
  serves(worker: W): boolean;
  /** Asks a worker to end; another one is started in its place. */
  leave(worker: W): void;
}

/**
 * Copies whose servers the origin has closed. When the app listens again in the origin, nobody tells it to do the same
 * in them: those that serve nothing a while later make way for new ones, which begin at the app's first line.
 */
export class Renewal<W extends { readonly index: number }> {
  private readonly emptied = new Set<W>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly hooks: RenewalHooks<W>) {}

  /** The last server of this worker has closed because the origin's has. */
  closed(worker: W): void {
    this.emptied.add(worker);
    this.look();
  }

  exited(worker: W): void {
    this.emptied.delete(worker);
  }

  /** The origin listens on one more address, or there is one more worker without any. */
  look(): void {
    if (this.emptied.size === 0 || !this.hooks.needed()) return;
    this.timer ??= setTimeout(() => this.renew(), RENEW_AFTER_MS).unref();
  }

  private renew(): void {
    this.timer = undefined;
    if (!this.hooks.needed()) return;
    for (const worker of this.emptied) {
      if (this.hooks.serves(worker)) continue;
      debug('worker %d has nothing to serve any more and makes way for another', worker.index);
      this.hooks.leave(worker);
    }
    this.emptied.clear();
  }
}
