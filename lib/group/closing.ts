// SPDX-License-Identifier: Apache-2.0
import { holdClose } from '../hook/held-close';
import type { ListenerGroup } from './listener-group';

/** Sockets of a closing group are looked after this often: queues refill from handshakes that were under way. */
export const SWEEP_MS = 20;

export interface ClosingHooks {
  /** Closes libuv's handle the way Node would have. */
  closeHandle(): void;
  done(): void;
}

/**
 * Ends a whole group without losing an established connection (design: "Closing"): no new SYNs, everybody serves what is
 * queued, workers close their servers, and every queue is looked at once more before the last duplicate goes. The
 * origin's server gets its 'close' event when all this has happened and its own connections have ended.
 */
export class ClosingGroup {
  private readonly left: Set<number>;
  private readonly timer: NodeJS.Timeout;
  private finished = false;
  private readonly letClose: () => void;
  /** A group of the same address has taken the sockets over: what is queued is its affair. */
  inherited = false;

  constructor(
    readonly group: ListenerGroup,
    private readonly hooks: ClosingHooks,
  ) {
    group.closing = true;
    this.letClose = holdClose(group.server);
    group.stopSyns();
    group.drainSocket(0);
    this.left = new Set(group.holders);
    this.timer = setInterval(() => this.sweep(), SWEEP_MS);
    setImmediate(() => this.finishIfAlone());
  }

  private sweep(): void {
    if (this.inherited) return;
    this.group.drainSocket(0);
    this.group.drainUnserved();
  }

  /** Worker `index` has closed its server and its duplicate, or has ended. */
  workerLeft(index: number): void {
    this.left.delete(index);
    this.finishIfAlone();
  }

  private finishIfAlone(): void {
    if (this.left.size > 0 || this.finished) return;
    this.finished = true;
    clearInterval(this.timer);
    const { group, hooks } = this;
    if (!this.inherited) group.drainAll();
    group.closed = true;
    group.closeSiblings();
    hooks.closeHandle();
    hooks.done();
    this.letClose();
  }
}
