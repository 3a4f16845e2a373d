// SPDX-License-Identifier: Apache-2.0
// What the app has open in this process that its copies may share. Part of the preload.
import type { BindArguments } from '../group/key';
import { datagramKey, fileOf, hasOwnSockets, pathKey } from '../group/shared-address';
import { debug } from '../log';
import { type First, onFirstDatagram } from './first-datagram';
import { onPipeBind, type PipeServer } from './pipes';
import type { ListenCall, ServerInside } from './tcp';
import type { UdpHandle } from './udp';

/** A handle whose socket several processes may have. */
export type SharableHandle = UdpHandle | PipeServer;

/** Names of closed sockets that are kept at most, or half of all. */
const FORGET_AT = 64;

export class Sharables {
  private readonly servers = new Map<string, ServerInside>();
  private readonly datagrams = new Map<string, UdpHandle>();
  /** What paths were when these handles were bound to them; see fileOf(). The working directory may be another one now. */
  private readonly places = new WeakMap<object, { key: string; file: string | undefined }>();
  private readonly firsts = new WeakMap<SharableHandle, First>();
  private forgetAt = FORGET_AT;
  private pipesHooked = false;
  /** What is bound now is not the app's. */
  making = false;
  /** A socket of this name may be open from now on. */
  opened: ((key: string) => void) | undefined;
  /** Gives the handle a socket of this name that is there already; false where there is none. */
  adopt: ((key: string, handle: SharableHandle) => boolean) | undefined;
  /** The first datagram of the app's socket of this name. */
  spoke: ((key: string, handle: SharableHandle, first: First) => void) | undefined;

  /** Before anything has been set up. */
  listenCalled(server: object, options: ListenCall['options']): void {
    const { path, exclusive } = options ?? {};
    if (typeof path !== 'string' || exclusive) return;
    const key = keyOf(path);
    if (key === undefined) return;
    this.hookPipes();
    this.forgetClosed();
    // a second one on this path will not get it
    if (!this.server(key)) this.servers.set(key, server as ServerInside);
    // a path is bound before listen() returns
    if (this.opened) process.nextTick(() => this.announce(key));
  }

  /** From now on it is known which file each path is, and a server of the app's gets what has been made for copies. */
  hookPipes(): void {
    if (this.pipesHooked) return;
    this.pipesHooked = true;
    try {
      onPipeBind((handle, path, native) => this.bindPipe(handle, path, native));
    } catch (error) {
      debug('servers on paths are known by their names alone: %s', (error as Error).message);
    }
  }

  private bindPipe(handle: PipeServer, path: string, native: () => number): number {
    const key = keyOf(path);
    if (key === undefined) return native();
    const error = !this.making && this.adopted(key, handle) ? 0 : native();
    // now it leads to this socket for certain
    if (error === 0) this.places.set(handle, { key, file: fileOf(key) });
    return error;
  }

  /** What fileOf() has said when this handle was bound to its path. */
  file(handle: SharableHandle): string | undefined {
    return this.places.get(handle)?.file;
  }

  bindUdp(handle: UdpHandle, bind: BindArguments, native: () => number): number {
    if (this.making || hasOwnSockets(bind)) return native();
    const key = datagramKey(bind);
    const error = this.adopted(key, handle) ? 0 : native();
    if (error !== 0) return error;
    this.forgetClosed();
    this.datagrams.set(key, handle);
    onFirstDatagram(handle, (first) => {
      this.firsts.set(handle, first);
      this.announce(key, () => this.spoke?.(key, handle, first));
    });
    this.announce(key);
    return 0;
  }

  /** What this socket of the app's has done first, undefined where it has done nothing. */
  first(handle: SharableHandle): First | undefined {
    return this.firsts.get(handle);
  }

  private announce(key: string, announce = () => this.opened?.(key)): void {
    try {
      announce();
    } catch (error) {
      debug('%s is not shared: %s', key, (error as Error).message);
    }
  }

  /** Whether the handle that the app is about to bind has a socket of this name now. */
  private adopted(key: string, handle: SharableHandle): boolean {
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

  /** The server that is about to be bound to this path. */
  coming(key: string): ServerInside | undefined {
    return this.servers.get(key);
  }

  /** The server that is open on this path. */
  server(key: string): ServerInside | undefined {
    const server = this.servers.get(key) as (ServerInside & { _pipeName?: unknown }) | undefined;
    const handle = server?._handle as unknown as PipeServer | null | undefined;
    // it may have closed, and listen elsewhere now
    if (handle?.constructor.name !== 'Pipe' || !(handle.fd >= 0)) return undefined;
    const name = server?._pipeName;
    const now = this.places.get(handle)?.key ?? (typeof name === 'string' ? keyOf(name) : undefined);
    return now === key ? server : undefined;
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

/** Undefined for a relative path where the working directory has been removed, and for what is no path. */
function keyOf(path: string): string | undefined {
  try {
    return pathKey(path);
  } catch {
    return undefined;
  }
}
