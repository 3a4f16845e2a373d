// SPDX-License-Identifier: Apache-2.0
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
  private readonly wasDrained: boolean;

  constructor(
    readonly group: FallbackGroup,
    private readonly hooks: FallbackClosingHooks,
  ) {
    // holds back 'close', as net.js does for the handles of its cluster workers (Server.prototype._emitCloseIfDrained)
    const { server } = group;
    this.wasDrained = server?._connections === 0;
    if (server) server._connections++;
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
    const { server } = group;
    group.closeSiblings();
    hooks.closeHandle();
    hooks.done();
    if (!server) return;
    server._connections--;
    // net.js looks for connections when close() is called, and only later for a handle: one that listens again is told, too
    if (this.wasDrained && server._handle) process.nextTick(() => server.emit('close'));
    else server._emitCloseIfDrained();
  }
}
