// SPDX-License-Identifier: Apache-2.0
// Node's cluster module, where the app uses it itself. Part of the preload: isRoundRobin.
import type { Cluster } from 'node:cluster';
import type { GetServerCallback, ServerQuery } from './node';
import { replace } from './replace';
import { builtinLoaded, quietBinding, type ServerInside, type TcpHandle } from './tcp';

/**
 * Whether this handle is about to listen for the primary's round robin: its server was made with internal/assert's fail()
 * for a 'connection' listener (lib/internal/cluster/round_robin_handle.js), which tells it from the app's own.
 */
export function isRoundRobin(handle: TcpHandle): boolean {
  if (!builtinLoaded('cluster')) return false;
  const [fail, ...others] = handle.owner?.listeners('connection') ?? [];
  return fail?.name === 'fail' && others.length === 0 && /ERR_INTERNAL_ASSERTION/.test(String(fail));
}

/** In a worker: what stands for the primary's handle (lib/internal/cluster/child.js, rr). */
export interface FauxHandle {
  getsockname(out: object): number;
  onconnection(status: number, client: TcpHandle): void;
  close(...args: unknown[]): void;
  ref(): void;
  unref(): void;
}

type GetServer = (server: ServerInside, query: ServerQuery, callback: GetServerCallback) => void;

/** Calls `seen` with each server of this worker that has come to listen by way of the primary's round robin. */
export function onFauxListen(seen: (server: ServerInside, handle: FauxHandle) => void): void {
  const cluster = require('node:cluster') as unknown as { _getServer: GetServer };
  replace(
    cluster,
    '_getServer',
    (original) =>
      function (this: unknown, server, query, callback) {
        const called: GetServerCallback = (error, handle) => {
          callback(error, handle);
          if (handle && server._handle === handle && isFaux(handle)) seen(server, handle);
        };
        return Reflect.apply(original, this, [server, query, called]);
      },
  );
}

function isFaux(handle: object): handle is FauxHandle {
  const { fd, getsockname, onconnection } = handle as Partial<TcpHandle>;
  return fd === undefined && typeof getsockname === 'function' && typeof onconnection === 'function';
}

/** What happens to the faux handle happens to `real`, too, which it knows nothing of. */
export function followFaux(faux: FauxHandle, real: Record<'close' | 'ref' | 'unref', () => void>): void {
  for (const name of ['close', 'ref', 'unref'] as const)
    replace(
      faux,
      name,
      (original) =>
        function (this: unknown, ...args: unknown[]) {
          real[name]();
          return Reflect.apply(original, this, args);
        },
    );
}

/** True in a process that cluster.fork() of the app has made, and that can still speak to its primary. */
export function isClusterWorker(): boolean {
  return builtinLoaded('cluster') && process.connected && (require('node:cluster') as Cluster).isWorker;
}

/** One end of Node's channel between processes: a child process, or `process` in one. */
interface ChannelEnd {
  connected: boolean;
  channel?: unknown;
  /** What waits until the other end has acknowledged a handle; null: it need not. */
  _handleQueue: unknown[] | null;
  disconnect(): void;
  emit(event: 'disconnect'): boolean;
}

/**
 * Sees to it that 'disconnect' comes when the other end goes while a handle is on its way there. Node waits for the
 * acknowledgement then, for ever: the end of the channel is followed by disconnect(), which leaves the rest to whoever
 * empties _handleQueue, and channel = null (lib/internal/child_process.js, setupChannel: onread).
 */
export function sureToDisconnect(end: object): void {
  replace(
    end as ChannelEnd,
    'disconnect',
    (original) =>
      function (this: ChannelEnd) {
        if (this._handleQueue === null) return Reflect.apply(original, this, []);
        const first = this.connected;
        if (first) Reflect.apply(original, this, []);
        process.nextTick(() => {
          if (this.channel === null) this.emit('disconnect');
          else if (!first) Reflect.apply(original, this, []);
        });
      },
  );
}

/** pipe_wrap's Pipe, as far as descriptors are passed on by it (src/pipe_wrap.cc). */
export interface PipeHandle {
  fd: number;
  open(fd: number): number | undefined;
  close(): void;
}

/** @throws what process.binding throws, and Pipe.open() where it cannot */
export function wrapPipe(fd: number): PipeHandle {
  const { Pipe, constants } = quietBinding<{
    Pipe: new (type: number) => PipeHandle;
    constants: { SOCKET: number };
  }>('pipe_wrap');
  const pipe = new Pipe(constants.SOCKET);
  const error = pipe.open(fd) ?? 0;
  if (error === 0) return pipe;
  pipe.close();
  throw new Error(`errno ${-error}`);
}
