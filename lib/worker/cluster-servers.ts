// SPDX-License-Identifier: Apache-2.0
import { closeUnnoticed } from '../hook/node';
import type { ServerInside } from '../hook/tcp';

/** Closed servers that are kept at most, or half of all. */
const FORGET_AT = 64;

/**
 * Servers of this worker that would have their handles from the primary if Node's cluster had one: all but those that
 * listen with `exclusive: true`, or on a handle (lib/net.js, listenInCluster). Whose socket each is, the origin's or its own,
 * makes no difference to how they end with their worker.
 */
export class ClusterServers {
  private readonly handles = new Map<ServerInside, unknown>();
  private forgetAt = FORGET_AT;
  private leaving = 0;

  /** @param ended one of those that leave() has closed has no connection any more */
  constructor(private readonly ended: () => void) {}

  /** It listens now. */
  add(server: ServerInside): void {
    const { handles } = this;
    if (handles.size >= this.forgetAt) {
      const open = new Set(this.open);
      for (const one of handles.keys()) if (!open.has(one)) handles.delete(one);
      this.forgetAt = Math.max(FORGET_AT, 2 * handles.size);
    }
    handles.set(server, server._handle);
  }

  /** Those that listen, as they did when they were added. */
  private get open(): ServerInside[] {
    return [...this.handles]
      .filter(([server, handle]) => handle && server._handle === handle)
      .map(([server]) => server);
  }

  /** As worker.disconnect() of Node's cluster closes them. Calls back when the last connection has ended. */
  close(done: () => void): void {
    let left = 1;
    const closed = () => {
      left--;
      if (left === 0) done();
    };
    for (const server of this.open) {
      left++;
      server.close(closed);
    }
    closed();
  }

  /** The origin wants this process to end: the app has closed nothing. */
  leave(): void {
    for (const server of this.open) {
      this.leaving++;
      server.once('close', () => {
        this.leaving--;
        this.ended();
      });
      closeUnnoticed(server);
    }
  }

  /** How many leave() has closed that have connections. */
  get ending(): number {
    return this.leaving;
  }
}
