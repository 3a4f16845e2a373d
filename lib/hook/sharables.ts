// SPDX-License-Identifier: Apache-2.0
// What the app has open in this process that its copies may share. Part of the preload.
import type { BindArguments } from '../group/key';
import { datagramKey, isAbstract, pathKey, type SharedAddress } from '../group/shared-address';
import { replace } from './replace';
import { type ListenCall, quietBinding, type ServerInside } from './tcp';
import type { UdpBinding, UdpHandle } from './udp';

/** The part of pipe_wrap's Pipe that we use for servers (src/pipe_wrap.cc). */
export interface PipeServer {
  fd: number;
  bind(path: string): number;
  listen(backlog: number): number;
  open(fd: number): number | undefined;
  close(callback?: () => void): void;
  fchmod(mode: number): number;
}

interface PipeBinding {
  Pipe: { new (type: number): PipeServer; prototype: PipeServer };
  constants: { SERVER: number };
}

/** A handle whose socket several processes may have. */
export type SharableHandle = UdpHandle | PipeServer;

export class Sharables {
  private readonly servers = new Map<string, ServerInside>();
  private readonly datagrams = new Map<string, UdpHandle>();
  private making = false;
  private pipesHooked = false;
  /** A socket of this name may be open from now on. */
  opened: ((key: string) => void) | undefined;
  /** Gives the handle a socket of this name that is there already; false where there is none. */
  adopt: ((key: string, handle: SharableHandle) => boolean) | undefined;

  /** Before anything has been set up. */
  listenCalled(server: object, options: ListenCall['options']): void {
    const { path, exclusive } = options ?? {};
    if (typeof path !== 'string' || exclusive) return;
    const key = pathKey(path);
    this.servers.set(key, server as ServerInside);
    // a path is bound before listen() returns
    if (this.opened) process.nextTick(() => this.opened?.(key));
  }

  bindUdp(handle: UdpHandle, bind: BindArguments, native: () => number): number {
    if (this.making) return native();
    const key = datagramKey(bind);
    const error = this.adopt?.(key, handle) ? 0 : native();
    if (error !== 0) return error;
    this.datagrams.set(key, handle);
    this.opened?.(key);
    return 0;
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

  /** Names of servers on paths, open or not. */
  get paths(): Iterable<string> {
    return this.servers.keys();
  }

  /** Another handle on a socket that is open elsewhere, or a negative errno; then the descriptor is the caller's still. */
  wrap(kind: SharedAddress['kind'], fd: number): SharableHandle | number {
    const handle = kind === 'udp' ? newDatagram() : newPipe();
    const error = handle.open(fd) ?? 0;
    if (error === 0) return handle;
    handle.close();
    return error;
  }

  /**
   * Binds for copies what the app has not bound here; or a negative errno. The handle receives nothing, and does not
   * listen: libuv would accept. The copies do.
   */
  make(address: SharedAddress): SharableHandle | number {
    this.making = true;
    try {
      return address.kind === 'udp' ? makeDatagram(address.bind) : makePipe(address.path, address.mode);
    } finally {
      this.making = false;
    }
  }

  /** From now on a server of the app's gets the socket that has been made for copies. */
  hookPipes(): void {
    if (this.pipesHooked) return;
    this.pipesHooked = true;
    const sharables = this;
    replace(
      pipes().Pipe.prototype,
      'bind',
      (original) =>
        function (this: PipeServer, ...args: [path: string]) {
          if (!sharables.making && sharables.adopt?.(pathKey(args[0]), this)) return 0;
          return Reflect.apply(original, this, args) as number;
        },
    );
  }
}

function pipes(): PipeBinding {
  return quietBinding<PipeBinding>('pipe_wrap');
}

function newPipe(): PipeServer {
  const { Pipe, constants } = pipes();
  return new Pipe(constants.SERVER);
}

function newDatagram(): UdpHandle {
  const { UDP } = quietBinding<UdpBinding>('udp_wrap');
  return new UDP();
}

/** sun_path has 108 bytes (unix(7)): cluster's primary does the same (lib/internal/cluster/primary.js, queryServer). */
function shortest(path: string): string {
  if (isAbstract(path)) return path;
  const { relative } = require('node:path') as typeof import('node:path');
  const other = relative(process.cwd(), path);
  return other.length < path.length ? other : path;
}

function makePipe(path: string, mode: number): PipeServer | number {
  const handle = newPipe();
  const error = handle.bind(shortest(path)) || (mode === 0 ? 0 : handle.fchmod(mode));
  if (error === 0) return handle;
  handle.close();
  return error;
}

function makeDatagram({ family, address, port, flags }: BindArguments): UdpHandle | number {
  const handle = newDatagram();
  const error = family === 6 ? handle.bind6(address, port, flags) : handle.bind(address, port, flags);
  if (error === 0) return handle;
  handle.close();
  return error;
}

/** A UDP socket on a port of its own, for a handle that may have the shared one no longer; or a negative errno. */
export function privateDatagram(family: 4 | 6): UdpHandle | number {
  return makeDatagram({ family, address: family === 6 ? '::' : '0.0.0.0', port: 0, flags: 0 });
}
