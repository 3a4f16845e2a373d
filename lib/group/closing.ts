// SPDX-License-Identifier: Apache-2.0
import { holdClose } from '../hook/held-close';
import { HANDSHAKE_MS } from './departures';
import type { ListenerGroup } from './listener-group';

/** Sockets of a closing group are looked after this often: queues refill from handshakes that were under way. */
export const SWEEP_MS = 20;
/** A timer that has nothing to do. */
const ALIVE_MS = 60_000;

export interface ClosingHooks {
  /** Closes libuv's handle the way Node would have. */
  closeHandle(): void;
  done(): void;
}

/**
 * Ends a whole group without losing an established connection (design: "Closing"): no new SYNs, everybody serves what is
 * queued, and workers close their servers. When no worker has a descriptor left, and handshakes have had the time for
 * their last step, every queue is looked at once more and the sockets go: from then on clients are refused, as behind
 * plain Node's close(). The origin's server gets its 'close' event when all connections have ended, the workers' too.
 */
export class ClosingGroup {
  /** Workers whose connections have not ended. */
  readonly left: Set<number>;
  /** Workers that have a descriptor of a socket. */
  private readonly holding: Set<number>;
  readonly begun = performance.now();
  private timer: NodeJS.Timeout;
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
    // what is done to a socket is done to whoever else has it
    if (!group.given) group.stopSyns();
    group.drainSocket(0);
    this.left = new Set(group.holders);
    this.holding = new Set([...group.holders].filter((index) => !group.letGo.has(index)));
    this.timer = setInterval(() => this.sweep(), SWEEP_MS);
    setImmediate(() => this.advance());
  }

  private sweep(): void {
    if (!this.inherited) {
      this.group.drainSocket(0);
      this.group.drainUnserved();
    }
    this.advance();
  }

  /** Worker `index` has no descriptor of its socket any more. */
  workerDropped(index: number): void {
    this.holding.delete(index);
    this.advance();
  }

  /** The last connection of worker `index` has ended, or it has. */
  workerLeft(index: number): void {
    this.holding.delete(index);
    this.left.delete(index);
    this.advance();
  }

  private advance(): void {
    const { group } = this;
    if (!group.closed && this.holding.size === 0 && this.handshakesAreOver()) this.closeSockets();
    if (group.closed && this.left.size === 0) this.finish();
  }

  /** What was under way when the last SYN was taken. Loopback has no way to be under. */
  private handshakesAreOver(): boolean {
    return this.inherited || this.group.loopback || performance.now() - this.begun >= HANDSHAKE_MS;
  }

  private closeSockets(): void {
    const { group } = this;
    clearInterval(this.timer);
    // the workers' connections keep the origin alive, as its own would
    this.timer = setInterval(() => {}, ALIVE_MS);
    if (!this.inherited) group.drainAll();
    group.closed = true;
    group.closeSiblings();
    this.hooks.closeHandle();
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    clearInterval(this.timer);
    this.hooks.done();
    this.letClose();
  }
}
