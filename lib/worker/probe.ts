// SPDX-License-Identifier: Apache-2.0
import type { BindArguments } from '../group/key';
import type { TcpHandle } from '../hook/tcp';

/**
 * Lets a handle look as if it were bound, and nothing more. The app listened on this address in the origin and closed
 * again, to see whether the port is free (get-port, detect-port); the same code runs in its copies, where a socket could
 * not have the address while the group of a wider or a narrower one holds the port.
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
