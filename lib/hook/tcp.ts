// SPDX-License-Identifier: Apache-2.0
// Below net.js: the TCP handle. Part of the preload.
import type { Server } from 'node:net';
import type { BindArguments } from '../group/key';
import { beforeNext, replace } from './replace';

/** The part of tcp_wrap's TCP handle that we use (src/tcp_wrap.cc, src/stream_base.cc). */
export interface TcpHandle {
  fd: number;
  onconnection(status: number, client: TcpHandle | undefined): void;
  bind(address: string, port: number, flags?: number): number;
  bind6(address: string, port: number, flags?: number): number;
  listen(backlog: number): number;
  connect(...args: never[]): number;
  connect6(...args: never[]): number;
  open(fd: number): number;
  close(callback?: () => void): void;
  getsockname(out: { address?: string; port?: number }): number;
  ref(): void;
  unref(): void;
  /** Node's accessor for owner_symbol, kept for user land on 20 to 26: the net.Server of a listening handle. */
  owner?: ServerInside;
}

/** net.Server with the internals that lib/net.js itself uses for cluster workers (Server.prototype.close there). */
export interface ServerInside extends Server {
  _connections: number;
  _handle: TcpHandle | null;
  _emitCloseIfDrained(): void;
  _listen2(address: unknown, port: number, type: number, backlog: number, fd: number, flags: number): void;
}

type TcpClass = { new (type: number): TcpHandle; prototype: TcpHandle };

/** process.binding('tcp_wrap'), as far as we need it. */
export interface TcpBinding {
  TCP: TcpClass;
  /** UV_TCP_REUSEPORT: 22.12 and later. */
  constants: { SOCKET: number; SERVER: number; UV_TCP_REUSEPORT?: number };
}

let tcp: TcpBinding | undefined;

/**
 * A binding of Node's without loading the module over it. process.binding warns under --pending-deprecation, so warnings
 * are off for the length of this one call (lib/internal/process/warning.js asks process.noDeprecation), and it is refused
 * under --permission.
 * @throws what process.binding throws
 */
export function quietBinding<T>(name: string): T {
  const had = Object.getOwnPropertyDescriptor(process, 'noDeprecation');
  Object.defineProperty(process, 'noDeprecation', { value: true, configurable: true, writable: true });
  try {
    return (process as unknown as { binding(name: string): T }).binding(name);
  } finally {
    if (had) Object.defineProperty(process, 'noDeprecation', had);
    else delete (process as { noDeprecation?: boolean }).noDeprecation;
  }
}

/**
 * Finds the TCP handle class without loading net.
 * @throws what process.binding throws
 */
export function loadTcp(): TcpBinding {
  tcp = quietBinding<TcpBinding>('tcp_wrap');
  if (typeof tcp?.TCP?.prototype?.listen !== 'function')
    throw new Error('tcp_wrap has no TCP.prototype.listen');
  return tcp;
}

/** What the preload has found, for the rest of the hook, which is a bundle of its own. */
export function useTcp(binding: TcpBinding): void {
  tcp = binding;
}

/** Wraps an accepted fd as libuv's own accept would have. Returns a negative errno where open() fails. */
export function adoptConnection(fd: number): TcpHandle | number {
  if (!tcp) return -1;
  const client = new tcp.TCP(tcp.constants.SOCKET);
  const error = client.open(fd);
  return error < 0 ? error : client;
}

export interface TcpHooks {
  bind(handle: TcpHandle, bind: BindArguments, native: () => number): number;
  listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number;
  /** A handle is about to be bound to a port of the kernel's choice: a client with an address of its own, or a server. */
  anyPort?(): void;
  /** The hook's own tests: `bind` is asked about those ports, too. */
  bindsAnyPort?: boolean;
}

/** Handles that this process has bound itself. */
const bound = new WeakSet<TcpHandle>();
export function isBoundHere(handle: TcpHandle): boolean {
  return bound.has(handle);
}

/**
 * Takes the place of TCP.prototype.bind, bind6 and listen: below net.js, so arguments, DNS, errors and events stay
 * Node's. The hooks are looked up at each call: what they do may change.
 */
export function hookTcp(binding: TcpBinding, hooks: TcpHooks): void {
  const prototype = binding.TCP.prototype;
  for (const [name, family] of [
    ['bind', 4],
    ['bind6', 6],
  ] as const) {
    replace(
      prototype,
      name,
      (original) =>
        function (this: TcpHandle, ...args: [string, number, number?]) {
          const native = () => {
            bound.add(this);
            return Reflect.apply(original, this, args) as number;
          };
          const [address, port, flags] = args;
          if (!port) hooks.anyPort?.();
          // a client's handle has its owner by then, a server's has none (lib/net.js, internalConnect, createServerHandle)
          if (this.owner || !(port || hooks.bindsAnyPort)) return native();
          return hooks.bind(this, { family, address, port: port || 0, flags: flags ?? 0 }, native);
        },
    );
  }
  replace(
    prototype,
    'listen',
    (original) =>
      function (this: TcpHandle, backlog: number) {
        return hooks.listen(this, backlog, (n) => Reflect.apply(original, this, [n]) as number);
      },
  );
}

export const CONNECTS = ['connect', 'connect6'] as const;

/** Calls `start` once, before the first connection that this thread makes (lib/net.js, internalConnect). */
export function beforeFirstConnect(binding: TcpBinding, start: () => void): void {
  const watch = new ConnectWatch(binding);
  watch.next(start);
}

/** Sees the next connection that this thread makes, and costs the others nothing. */
export class ConnectWatch {
  private readonly placed = new Set<string>();
  private called: (() => void) | undefined;

  constructor(private readonly binding: TcpBinding) {}

  next(called: () => void): void {
    this.called = called;
    for (const name of CONNECTS) {
      if (this.placed.has(name)) continue;
      this.placed.add(name);
      beforeNext(this.binding.TCP.prototype, name, (restored) => {
        if (restored) this.placed.delete(name);
        const call = this.called;
        this.called = undefined;
        call?.();
      });
    }
  }
}

/** What `server.listen(options)` was asked for, before anything has been set up. */
export interface ListenCall {
  server: Server;
  options:
    | {
        port?: unknown;
        path?: unknown;
        exclusive?: boolean;
        reusePort?: boolean;
        backlog?: unknown;
        fd?: number;
        handle?: unknown;
        _handle?: unknown;
      }
    | undefined;
}

/**
 * Sees every server.listen() with its options, without loading or touching net: the channel is there on Node 20.16 and
 * 22.3 and later, like getBuiltinModule (lib/net.js, netServerListen.asyncStart). It fires before listen() loads cluster.
 */
export function onListenCall(see: (call: ListenCall) => void): void {
  if (!('getBuiltinModule' in process)) return onListenMethod(see);
  const { subscribe } = require('node:diagnostics_channel') as typeof import('node:diagnostics_channel');
  subscribe('tracing:net.server.listen:asyncStart', (message) => see(message as ListenCall));
}

/** The same on earlier Nodes, where net has to be loaded for it. */
function onListenMethod(see: (call: ListenCall) => void): void {
  const net = require('node:net') as typeof import('node:net') & {
    _normalizeArgs(args: unknown[]): [ListenCall['options']];
  };
  replace(
    net.Server.prototype,
    'listen',
    (original) =>
      function (this: Server, ...args: never[]) {
        see({ server: this, options: net._normalizeArgs(args)[0] });
        return Reflect.apply(original, this, args) as Server;
      } as typeof original,
  );
}

/** True where Node has loaded this builtin already. */
export function builtinLoaded(id: string): boolean {
  const { moduleLoadList } = process as unknown as { moduleLoadList?: string[] };
  return moduleLoadList === undefined || moduleLoadList.includes(`NativeModule ${id}`);
}
