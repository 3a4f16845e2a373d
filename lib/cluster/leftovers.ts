// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';
import type { Addon } from '../native/addon';
import { LEAVE_MS } from '../workers/lifecycle';

interface Leftover {
  port: number;
  /** Our duplicates of the sockets that workers hold still, by the worker's number. */
  sockets: Map<number, number>;
}

/**
 * Sockets of groups that the primary has closed and workers are about to: cluster.disconnect() closes in the primary
 * first. What they have queued they serve, within a second, or until the primary wants the port again.
 */
export class Leftovers {
  private readonly byGeneration = new Map<number, Leftover>();

  constructor(private readonly addon: Addon) {}

  /** The group closes; the primary's own socket is not among these. */
  add(group: ListenerGroup): void {
    const { generation, port, holders } = group;
    const sockets = new Map<number, number>();
    const siblings = group.sockets.splice(1);
    siblings.forEach((fd, i) => {
      if (holders.has(i + 1)) sockets.set(i + 1, fd);
      else this.shut(fd);
    });
    if (sockets.size === 0) return;
    this.byGeneration.set(generation, { port, sockets });
    setTimeout(() => this.end(generation), LEAVE_MS).unref();
  }

  /** Worker `index` holds its socket no longer: of one group, or of all. */
  dropped(index: number, of?: number): void {
    for (const [generation, { sockets }] of this.byGeneration) {
      if (of !== undefined && of !== generation) continue;
      const fd = sockets.get(index);
      if (fd !== undefined) this.shut(fd);
      sockets.delete(index);
      if (sockets.size === 0) this.byGeneration.delete(generation);
    }
  }

  /**
   * The primary is about to bind this port. A socket that has left LISTEN does not stand in the way of one with
   * SO_REUSEADDR, which libuv sets (net/ipv4/inet_connection_sock.c, inet_bind_conflict).
   */
  freePort(port: number): void {
    for (const [generation, leftover] of this.byGeneration) {
      if (leftover.port === port) this.end(generation);
    }
  }

  private end(generation: number): void {
    for (const fd of this.byGeneration.get(generation)?.sockets.values() ?? []) this.shut(fd);
    this.byGeneration.delete(generation);
  }

  /**
   * It takes no connection any more, whoever has a duplicate: its worker, or another one that has helped it and keeps the
   * queue until its own server closes (native/seam/kept.cc).
   */
  private shut(fd: number): void {
    this.addon.shutdownRead(fd);
    this.addon.close(fd);
  }
}
