// SPDX-License-Identifier: Apache-2.0
// What the app has open in this process that its copies may share. Part of the preload.
import type { BindArguments } from '../group/key';
import { datagramKey, pathKey } from '../group/shared-address';
import { debug } from '../log';
import type { ListenCall, ServerInside } from './tcp';
import type { UdpHandle } from './udp';

/** The part of pipe_wrap's Pipe that we use for servers (src/pipe_wrap.cc). */
export interface PipeServer {
  fd: number;
  bind(path: string): number;
  listen(backlog: number): number;
  open(fd: number): number | undefined;
  close(callback?: () => void): void;
  fchmod(mode: number): number;
}

/** A handle whose socket several processes may have. */
export type SharableHandle = UdpHandle | PipeServer;

/** Names of closed sockets that are kept at most, or half of all. */
const FORGET_AT = 64;

export class Sharables {
  private readonly servers = new Map<string, ServerInside>();
  private readonly datagrams = new Map<string, UdpHandle>();
  private forgetAt = FORGET_AT;
  /** What is bound now is not the app's. */
  making = false;
  /** A socket of this name may be open from now on. */
  opened: ((key: string) => void) | undefined;
  /** Gives the handle a socket of this name that is there already; false where there is none. */
  adopt: ((key: string, handle: SharableHandle) => boolean) | undefined;

  /** Before anything has been set up. */
  listenCalled(server: object, options: ListenCall['options']): void {
    const { path, exclusive } = options ?? {};
    if (typeof path !== 'string' || exclusive) return;
    let key: string;
    try {
      key = pathKey(path);
    } catch {
      return; // a relative path where the working directory has been removed
    }
    this.forgetClosed();
    // a second one on this path will not get it
    if (!this.server(key)) this.servers.set(key, server as ServerInside);
    // a path is bound before listen() returns
    if (this.opened) process.nextTick(() => this.announce(key));
  }

  bindUdp(handle: UdpHandle, bind: BindArguments, native: () => number): number {
    if (this.making) return native();
    const key = datagramKey(bind);
    const error = this.adopted(key, handle) ? 0 : native();
    if (error !== 0) return error;
    this.forgetClosed();
    this.datagrams.set(key, handle);
    this.announce(key);
    return 0;
  }

  private announce(key: string): void {
    try {
      this.opened?.(key);
    } catch (error) {
      debug('%s is not shared: %s', key, (error as Error).message);
    }
  }

  /** Whether the handle that the app is about to bind has a socket of this name now. */
  adopted(key: string, handle: SharableHandle): boolean {
    try {
      return this.adopt?.(key, handle) ?? false;
    } catch (error) {
      debug('%s is bound anew: %s', key, (error as Error).message);
      return false;
    }
  }

  /** Now and then: an app may open one after the other. */
  private forgetClosed(): void {
    const { servers, datagrams } = this;
    if (this.size < this.forgetAt) return;
    for (const key of servers.keys()) if (!this.server(key)) servers.delete(key);
    for (const [key, { fd }] of datagrams) if (!(fd >= 0)) datagrams.delete(key);
    this.forgetAt = Math.max(FORGET_AT, 2 * this.size);
  }

  /** The handle of the app's that is open under this name. */
  find(key: string): SharableHandle | undefined {
    const datagram = this.datagrams.get(key);
    if (datagram && datagram.fd >= 0) return datagram;
    return this.server(key)?._handle as unknown as PipeServer | undefined;
  }

  /** The server that is open on this path. */
  server(key: string): ServerInside | undefined {
    const server = this.servers.get(key) as (ServerInside & { _pipeName?: unknown }) | undefined;
    const handle = server?._handle as unknown as PipeServer | null | undefined;
    // it may have closed, and listen elsewhere now
    if (handle?.constructor.name !== 'Pipe' || !(handle.fd >= 0)) return undefined;
    return typeof server?._pipeName === 'string' && pathKey(server._pipeName) === key ? server : undefined;
  }

  /** How many it knows of, open or closed. */
  get size(): number {
    return this.servers.size + this.datagrams.size;
  }

  /** Names of servers on paths, open or not. */
  get paths(): Iterable<string> {
    return this.servers.keys();
  }
}
