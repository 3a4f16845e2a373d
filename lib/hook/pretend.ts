// SPDX-License-Identifier: Apache-2.0
import type { BindArguments } from '../group/key';
import type { TcpHandle } from './tcp';

/**
 * Lets a handle look as if it were bound, and nothing more. In a copy: the app listened on this address in the origin and
 * closed again, to see whether the port is free (get-port, detect-port), and a socket could not have the address while
 * the group of a wider or a narrower one holds the port. In the origin: a worker has the address for a moment longer.
 */
export function pretendBound(handle: TcpHandle, { family, address, port }: BindArguments): void {
  const getsockname = (out: { address?: string; family?: string; port?: number }): number => {
    Object.assign(out, { address, family: `IPv${family}`, port });
    return 0;
  };
  Object.defineProperty(handle, 'getsockname', {
    value: getsockname,
    configurable: true,
    enumerable: false,
    writable: true,
  });
}

/** The handle is bound for real from now on. */
export function endPretending(handle: TcpHandle): void {
  delete (handle as Partial<TcpHandle>).getsockname;
}

/** Reports a failure of listen() later than Node does, as Node would (lib/net.js, setupListenHandle). */
export function failListen(handle: TcpHandle, error: number, { address, port }: BindArguments): void {
  const server = handle.owner;
  if (!server) return;
  const util = require('node:util') as typeof import('node:util');
  const code = util.getSystemErrorName(error);
  const text = util.getSystemErrorMap().get(error)?.[1] ?? '';
  const failure = new Error(`listen ${code}: ${text} ${address}:${port}`);
  handle.close();
  server._handle = null;
  process.nextTick(() =>
    server.emit('error', Object.assign(failure, { code, errno: error, syscall: 'listen', address, port })),
  );
}
