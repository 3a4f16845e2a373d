// SPDX-License-Identifier: Apache-2.0
import { captureContext, type InContext } from '../hook/context';
import type { ServerInside, TcpHandle } from '../hook/tcp';

export interface FallbackGroupOptions {
  key: string;
  generation: number;
  handle: TcpHandle;
  backlog: number;
  /** Binds one more socket of this address with SO_REUSEPORT; absent where all processes share the origin's socket. */
  bindAnother?: () => TcpHandle | undefined;
}

interface Slot {
  socket: TcpHandle;
  /** The origin accepts from it too. */
  served: boolean;
  /** Sockets that a predecessor of the worker had, and that the origin serves until the successor is ready. */
  retired: TcpHandle[];
}

/**
 * The listening sockets of one address, made by Node alone. As in the real groups the origin owns them all: with
 * reusePort it binds a socket for each worker and sends it over the IPC channel, which duplicates it, so that the queue
 * of a dead worker is still there. The origin then serves that queue itself, because libuv cannot stop accepting
 * without a close().
 */
export class FallbackGroup {
  readonly key: string;
  readonly generation: number;
  readonly handle: TcpHandle;
  readonly openedAt = performance.now();
  readonly ready = new Set<number>();
  /** Workers that have been sent a socket of the group. */
  readonly holders = new Set<number>();
  /** Workers whose server has closed, while connections of it live on. */
  readonly lingering = new Set<number>();
  private readonly slots = new Map<number, Slot>();
  private readonly inContext: InContext = captureContext();

  /** @param workers how many sockets are bound in advance: later the app may have dropped the user that may bind them */
  constructor(
    private readonly options: FallbackGroupOptions,
    workers: number,
  ) {
    this.key = options.key;
    this.generation = options.generation;
    this.handle = options.handle;
    for (let index = 1; index <= workers; index++) {
      const socket = options.bindAnother?.();
      if (socket) this.slots.set(index, { socket, served: false, retired: [] });
    }
  }

  get server(): ServerInside | undefined {
    return this.handle.owner;
  }

  /** Each process has a socket of its own. */
  get partitioned(): boolean {
    return this.slots.size > 0;
  }

  /** The socket for worker `index`. */
  lend(index: number): TcpHandle {
    this.holders.add(index);
    const slot = this.slots.get(index);
    if (!slot) return this.handle;
    // one that the origin serves stays the origin's, if a fresh one can be had
    const fresh = slot.served ? this.options.bindAnother?.() : undefined;
    if (fresh) {
      slot.retired.push(slot.socket);
      slot.socket = fresh;
      slot.served = false;
    }
    return slot.socket;
  }

  workerReady(index: number): void {
    this.ready.add(index);
    for (const socket of this.slots.get(index)?.retired.splice(0) ?? []) socket.close();
  }

  /** Worker `index` accepts no longer: the origin does, in its place. */
  takeOver(index: number): void {
    this.ready.delete(index);
    if (!this.holders.delete(index)) return;
    this.serve(index);
  }

  private serve(index: number): void {
    const slot = this.slots.get(index);
    if (!slot || slot.served) return;
    const { handle, inContext, options } = this;
    slot.socket.onconnection = (status, client) => inContext(() => handle.onconnection(status, client));
    if (slot.socket.listen(options.backlog) < 0) return;
    slot.socket.unref();
    slot.served = true;
  }

  /** The group closes: what stands in the workers' queues is served here too, until they have closed theirs. */
  serveAll(): void {
    for (const index of this.holders) this.serve(index);
  }

  /** Closes every socket but the app's own handle. */
  closeSiblings(): void {
    for (const { socket, retired } of this.slots.values())
      for (const handle of [socket, ...retired]) handle.close();
    this.slots.clear();
  }
}
