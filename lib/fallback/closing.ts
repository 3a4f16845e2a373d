// SPDX-License-Identifier: Apache-2.0
import { holdClose } from '../hook/held-close';
import type { FallbackGroup } from './group';

/** A timer that has nothing to do. */
const ALIVE_MS = 60_000;

export interface FallbackClosingHooks {
  /** Closes libuv's handle the way Node would have. */
  closeHandle(): void;
  done(): void;
}

/**
 * Ends a whole group: the origin goes on serving every socket of it until all workers have closed their servers. New
 * connections cannot be kept out meanwhile without the addon, so those of the last moment are reset, as in plain Node.
 * The origin's server gets its 'close' event when all connections have ended, the workers' too.
 */
export class FallbackClosing {
  /** Workers that have not closed their server. */
  private readonly holding: Set<number>;
  private closed = false;
  private finished = false;
  private alive: NodeJS.Timeout | undefined;
  private readonly letClose: () => void;

  constructor(
    readonly group: FallbackGroup,
    private readonly hooks: FallbackClosingHooks,
  ) {
    this.letClose = holdClose(group.server);
    group.serveAll();
    this.holding = new Set(group.holders);
    setImmediate(() => this.advance());
  }

  /** Its sockets hold the port. */
  get listening(): boolean {
    return !this.closed;
  }

  /** Worker `index` has closed its server. */
  workerClosed(index: number): void {
    this.holding.delete(index);
    this.advance();
  }

  /** The last connection of worker `index` has ended. */
  connectionsEnded(index: number): void {
    this.group.lingering.delete(index);
    this.advance();
  }

  /** Worker `index` has ended. */
  workerLeft(index: number): void {
    this.holding.delete(index);
    this.connectionsEnded(index);
  }

  private advance(): void {
    const { group } = this;
    if (!this.closed && this.holding.size === 0) this.closeSockets();
    if (this.closed && group.lingering.size === 0) this.finish();
  }

  private closeSockets(): void {
    this.closed = true;
    this.group.closeSiblings();
    // the workers' connections keep the origin alive, as its own would
    this.alive = setInterval(() => {}, ALIVE_MS);
    this.hooks.closeHandle();
  }

  private finish(): void {
    if (this.finished) return;
    this.finished = true;
    clearInterval(this.alive);
    this.hooks.done();
    this.letClose();
  }
}
