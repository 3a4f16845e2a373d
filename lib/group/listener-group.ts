// SPDX-License-Identifier: Apache-2.0

import type { ServerInside, TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';
import { captureContext, drain, type InContext } from './drain';
import { type BindArguments, isLoopbackAddress } from './key';

export interface GroupOptions {
  key: string;
  /** Counts the groups of this process: a key may come back, its sockets are others then. */
  generation: number;
  bind: BindArguments;
  handle: TcpHandle;
  backlog: number;
  /** Workers there may be: the group has one socket for each, and the origin's. */
  workers: number;
  /** Program that selects the origin's socket alone. */
  originOnly: Uint8Array;
}

/**
 * All listening sockets of one address. The origin owns every one of them for as long as it lives: index 0 its own,
 * index i worker i's. A worker's death closes nothing, so its queue survives it.
 */
export class ListenerGroup {
  readonly key: string;
  readonly generation: number;
  readonly handle: TcpHandle;
  readonly backlog: number;
  readonly loopback: boolean;
  readonly openedAt = performance.now();
  readonly sockets: number[] = [];
  /** Workers whose accept loop has run. */
  readonly ready = new Set<number>();
  /** Workers that hold a duplicate of their socket. */
  readonly holders = new Set<number>();
  readonly inContext: InContext = captureContext();
  /** The kernel has a steering program of ours; without one, sockets that nobody serves leave the group instead. */
  hasProgram = false;
  closing = false;
  closed = false;
  /** Sockets that have left the group (no program): index -> true. */
  private readonly away = new Set<number>();

  constructor(
    private readonly addon: Addon,
    options: GroupOptions,
  ) {
    this.key = options.key;
    this.generation = options.generation;
    this.handle = options.handle;
    this.backlog = options.backlog;
    this.loopback = isLoopbackAddress(options.bind.address);
  }

  get server(): ServerInside | undefined {
    return this.handle.owner;
  }

  /**
   * Makes the group around a handle that has been bound exclusively and does not listen yet. SO_REUSEPORT is set after
   * bind(), so that bind() has refused a taken port as in plain Node; the program is attached before listen(), because
   * on a plain listener that is hashed already it is EINVAL (net/core/sock_reuseport.c, reuseport_attach_prog).
   * @returns libuv's result of listen(), which is plain Node's answer to the app; `failed` names what could not be had
   */
  open(options: GroupOptions, listen: (backlog: number) => number): { error: number; failed?: string } {
    const { addon, handle } = this;
    const fd = handle.fd;
    const shared = addon.reusePort(fd);
    if (shared < 0)
      return { error: listen(options.backlog), failed: `SO_REUSEPORT was refused (errno ${-shared})` };
    this.sockets.push(fd);
    this.hasProgram = addon.attachProgram(fd, options.originOnly) === 0;
    const error = listen(options.backlog);
    if (error < 0) return { error };
    for (let i = 1; i <= options.workers; i++) {
      const socket = addon.sibling(fd, options.backlog);
      if (socket < 0) {
        this.closeSiblings();
        return { error, failed: `socket ${i} of the listener group could not be made (errno ${-socket})` };
      }
      this.sockets.push(socket);
      // nobody serves it yet; with a program it is not selected, without one it has to leave
      if (!this.hasProgram) this.leave(i);
    }
    return { error };
  }

  /** Takes over the sockets of a group of the same address that is closing: close(); listen() in one tick. */
  adopt(predecessor: ListenerGroup, listen: (backlog: number) => number, backlog: number): number {
    const { addon } = this;
    this.sockets.push(this.handle.fd);
    for (const socket of predecessor.sockets.slice(1)) {
      const copy = addon.dup(socket);
      if (copy >= 0) this.sockets.push(copy);
    }
    this.hasProgram = predecessor.hasProgram;
    for (const index of predecessor.away) this.away.add(index);
    for (const socket of this.sockets) addon.keepSyn(socket);
    return listen(backlog);
  }

  /** Attaches a steering program. Returns 0 or a negative errno (ENOMEM: larger than net.core.optmem_max allows). */
  steer(program: Uint8Array): number {
    return this.addon.attachProgram(this.sockets[0] as number, program);
  }

  /** The kernel keeps our program no longer: from now on sockets leave the group when nobody serves them. */
  giveUpProgram(): void {
    if (!this.hasProgram) return;
    this.hasProgram = false;
    this.addon.detachProgram(this.sockets[0] as number);
  }

  /**
   * Without a program: takes out of the group what nobody serves, and the origin's socket back in when nobody else can.
   * @param live workers that serve this group now
   */
  settle(live: readonly number[]): void {
    if (this.hasProgram || this.closing) return;
    // who comes comes before the others go: with nobody in the group a SYN is refused
    if (live.length === 0 && this.away.has(0)) this.comeBack();
    for (let i = 1; i < this.sockets.length; i++) {
      if (live.includes(i)) this.away.delete(i);
      else if (!this.away.has(i)) this.leave(i);
    }
    if (live.length > 0 && !this.away.has(0)) this.leave(0);
  }

  /**
   * Takes socket `index` out of the group and keeps the port: SYNs are dropped, what is queued is served here, and
   * shutdown(SHUT_RD) ends LISTEN without unbinding (net/ipv4/af_inet.c, inet_shutdown; tcp_disconnect keeps a bound
   * port). A shut listener is a level-triggered EPOLLHUP, so libuv must not watch it any longer.
   */
  private leave(index: number): void {
    const { addon } = this;
    const socket = this.sockets[index] as number;
    addon.dropSyn(socket);
    this.drainSocket(index);
    addon.shutdownRead(socket);
    if (index === 0) addon.pollDelete(socket);
    addon.keepSyn(socket);
    this.away.add(index);
  }

  private comeBack(): void {
    const { addon } = this;
    const socket = this.sockets[0] as number;
    if (addon.listen(socket, this.backlog) < 0) return;
    addon.pollAdd(socket);
    this.away.delete(0);
  }

  /** Serves in the origin what waits in the queue of socket `index`. */
  drainSocket(index: number): number {
    const socket = this.sockets[index];
    if (socket === undefined || this.closed) return 0;
    return drain(this.addon, this.handle, socket, this.inContext);
  }

  /** Serves here what waits on sockets that no worker serves. */
  drainUnserved(): number {
    let accepted = 0;
    for (let i = 1; i < this.sockets.length; i++) {
      if (!this.ready.has(i) && !this.away.has(i)) accepted += this.drainSocket(i);
    }
    return accepted;
  }

  /** No new handshake begins; those under way complete. */
  stopSyns(): void {
    for (const socket of this.sockets) this.addon.dropSyn(socket);
  }

  drainAll(): number {
    let accepted = 0;
    for (let i = 0; i < this.sockets.length; i++) {
      if (!this.away.has(i)) accepted += this.drainSocket(i);
    }
    return accepted;
  }

  closeSiblings(): void {
    for (const socket of this.sockets.splice(1)) this.addon.close(socket);
  }
}
