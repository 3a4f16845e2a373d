// SPDX-License-Identifier: Apache-2.0
// What is replaced in Node once there is something to multiply.
import type { Server } from 'node:net';
import type { ListenQuery } from '../group/key';
import { pathMode } from '../group/shared-address';
import { captureContext } from './context';
import type { PipeServer } from './pipes';
import { replace } from './replace';
import { quietBinding, type ServerInside, type TcpHandle } from './tcp';
import type { UdpBinding, UdpHandle } from './udp';

/** Lets `intercept` decide when this one handle is closed; it calls `native` for that, at once or later. */
export function interceptClose(
  handle: Pick<TcpHandle, 'close'>,
  intercept: (native: () => void) => void,
): void {
  const put = (close: TcpHandle['close']) =>
    Object.defineProperty(handle, 'close', {
      value: close,
      configurable: true,
      enumerable: false,
      writable: true,
    });
  put((callback) => {
    // two servers may have it, and both close it: the second time nothing happens (src/handle_wrap.cc, HandleWrap::Close)
    put(() => {});
    intercept(() => {
      delete (handle as Partial<TcpHandle>).close;
      handle.close(callback);
    });
  });
}

/**
 * Closes a server that the app has not closed. The app's own close(), when it comes, finds what it would have found: no
 * ERR_SERVER_NOT_RUNNING, and a callback when the last connection has ended.
 */
export function closeUnnoticed(server: (ServerInside & { closeIdleConnections?(): void }) | undefined): void {
  if (!server) return;
  let closed = false;
  server.once('close', () => {
    closed = true;
  });
  server.close();
  const close = function (this: ServerInside, callback?: () => void): ServerInside {
    delete (server as Partial<ServerInside>).close;
    if (server.listening) return server.close(callback) as ServerInside;
    server.closeIdleConnections?.();
    if (typeof callback === 'function')
      closed ? process.nextTick(callback) : server.once('close', () => callback());
    return server;
  };
  Object.defineProperty(server, 'close', {
    value: close,
    configurable: true,
    enumerable: false,
    writable: true,
  });
}

/** Lets `intercept` answer process.kill(process.pid, signal); true means it has been dealt with. */
export function hookSelfKill(intercept: (signal: number) => boolean): void {
  replace(
    process,
    'kill',
    (original) =>
      function (this: unknown, pid: number, signal?: string | number) {
        if (pid === process.pid) {
          const number = signalNumber(signal ?? 'SIGTERM');
          if (number !== undefined && number > 0 && intercept(number)) return true;
        }
        return Reflect.apply(original, process, [pid, signal]) as true;
      },
  );
}

export function signalNumber(signal: string | number): number | undefined {
  if (typeof signal === 'number') return signal;
  const { constants } = require('node:os') as typeof import('node:os');
  // in any case, as child_process takes it (lib/internal/util.js, convertToValidSignal)
  return (constants.signals as Record<string, number>)[signal.toUpperCase()];
}

/** The cluster module's way to a listening handle in a worker (lib/internal/cluster/child.js). */
type GetServer = (server: ServerInside | Datagram, query: ServerQuery, callback: GetServerCallback) => void;
export type GetServerCallback = (error: number | null, handle: unknown) => void;
export interface ServerQuery extends ListenQuery {
  fd?: number;
  backlog: number;
  readableAll?: boolean;
  writableAll?: boolean;
}

/** Decides about one listen() of a worker, or bind() of a UDP socket; false leaves it alone, which `alone` does too, later. */
export type TakeServer = (
  server: ServerInside | Datagram,
  query: ServerQuery,
  callback: GetServerCallback,
  alone: () => void,
) => boolean;

/** A socket of dgram, which asks in the same way as a server. */
export interface Datagram {
  _listen2?: undefined;
  close(): void;
}

export function isServer(asking: ServerInside | Datagram): asking is ServerInside {
  return typeof asking._listen2 === 'function';
}

export interface GetServerHooks {
  take?: TakeServer;
  /** Sees the UDP sockets that have bound for themselves. */
  bound?(socket: Datagram, handle: UdpHandle): void;
  /** Sees the servers that have come to listen, whoever has their socket. */
  listens?(server: ServerInside): void;
}

/**
 * In a worker every listen() takes the way it takes in a primary, unless `take` has it: net.js calls _listen2 there
 * (lib/net.js, listenInCluster), and UDP sockets bind for themselves. No query goes to the origin, which is no cluster
 * primary.
 */
export function hookGetServer({ take, bound, listens }: GetServerHooks = {}): void {
  const cluster = require('node:cluster') as unknown as { _getServer: GetServer };
  replace(cluster, '_getServer', () => (server, query, callback) => {
    const { address, port, addressType, backlog, fd, flags } = query;
    const seen = () => {
      if (isServer(server) && server._handle) listens?.(server);
    };
    const given: GetServerCallback = (error, handle) => {
      callback(error, handle);
      seen();
    };
    const alone = () => {
      if (isServer(server)) {
        server._listen2(address, port, addressType as number, backlog, fd as number, flags);
        // net.js has asked for it already where the answer is late (lib/net.js, Server.prototype.listen)
        if (late && pathMode(query) > 0)
          (server._handle as unknown as PipeServer | null)?.fchmod(pathMode(query));
        return seen();
      }
      const [error, handle] = bindUdp(query);
      if (handle) bound?.(server, handle);
      callback(error, handle);
    };
    let late = false;
    if (!take?.(server, query, given, alone)) alone();
    late = true;
  });
}

function bindUdp(query: ServerQuery): [error: number | null, handle: UdpHandle | null] {
  const { UDP } = quietBinding<UdpBinding>('udp_wrap');
  const handle = new UDP();
  const { fd = -1, addressType, address, port, flags } = query;
  const bind = addressType === 'udp6' ? handle.bind6 : handle.bind;
  const error = fd > 0 ? handle.open(fd) : bind.call(handle, address as string, port || 0, flags);
  if (error < 0) handle.close();
  return error < 0 ? [error, null] : [null, handle];
}

let parallelism: number | undefined;
let ownParallelism: (() => number) | undefined;

/** What Node says of this thread as it is now. */
export function availableParallelism(): number {
  const os = require('node:os') as typeof import('node:os');
  return (ownParallelism ?? os.availableParallelism)();
}

/**
 * Answers os.availableParallelism() with `count`: libuv asks the calling thread's mask (src/unix/core.c), which is one CPU
 * when pinned. undefined: Node answers again.
 */
export function fixAvailableParallelism(count: number | undefined): void {
  parallelism = count;
  if (ownParallelism || count === undefined) return;
  const os = require('node:os') as { availableParallelism: () => number };
  replace(os, 'availableParallelism', (original) => {
    ownParallelism = original;
    return () => parallelism ?? original();
  });
  const { syncBuiltinESMExports } = require('node:module') as typeof import('node:module');
  syncBuiltinESMExports();
}

/**
 * Lets `count` answer server.getConnections() for servers that it knows; false leaves it to Node. The answer reaches the
 * app as Node's does: in a later tick, in the caller's async context (lib/net.js, Server.prototype.getConnections).
 */
export function hookGetConnections(
  count: (server: Server, own: number, callback: (error: null, count: number) => void) => boolean,
): void {
  const { Server } = require('node:net') as typeof import('node:net');
  replace(
    Server.prototype,
    'getConnections',
    (original) =>
      function (this: ServerInside, callback: (error: Error | null, n: number) => void) {
        const inContext = captureContext();
        const answer = (error: null, n: number) => inContext(() => process.nextTick(callback, error, n));
        if (typeof callback !== 'function' || !count(this, this._connections, answer))
          return Reflect.apply(original, this, [callback]) as Server;
        return this;
      },
  );
}
