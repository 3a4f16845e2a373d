// SPDX-License-Identifier: Apache-2.0
import { holdClose } from '../hook/held-close';
import type { FallbackGroup } from './group';

export interface FallbackClosingHooks {
  /** Closes libuv's handle the way Node would have. */
  closeHandle(): void;
  done(): void;
}

/**
 * Ends a whole group: the origin goes on serving every socket of it until all workers have closed their servers. New
 * connections cannot be kept out meanwhile without the addon, so those of the last moment are reset, as in plain Node.
 */
export class FallbackClosing {
  private readonly left: Set<number>;
  private finished = false;
  private readonly letClose: () => void;

  constructor(
    readonly group: FallbackGroup,
    private readonly hooks: FallbackClosingHooks,
  ) {
    this.letClose = holdClose(group.server);
    group.serveAll();
    this.left = new Set(group.holders);
    setImmediate(() => this.finishIfAlone());
  }

  /** Worker `index` has closed its server, or has ended. */
  workerLeft(index: number): void {
    this.left.delete(index);
    this.finishIfAlone();
  }

  private finishIfAlone(): void {
    if (this.left.size > 0 || this.finished) return;
    this.finished = true;
    const { group, hooks } = this;
    group.closeSiblings();
    hooks.closeHandle();
    hooks.done();
    this.letClose();
  }
}
