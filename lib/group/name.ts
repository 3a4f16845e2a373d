// SPDX-License-Identifier: Apache-2.0
import { type BindArguments, groupKey } from './key';

/** What getsockname() says of a handle. */
export interface SocketName {
  address?: string;
  family?: string;
  port?: number;
}

/** The address that a bound handle has got, as its bind() could have been asked for it; undefined: it is no TCP address. */
export function addressOf(handle: { getsockname?(out: SocketName): number }): BindArguments | undefined {
  const name: SocketName = {};
  if (typeof handle.getsockname !== 'function' || handle.getsockname(name) !== 0) return undefined;
  const { address, family, port } = name;
  if (address === undefined || port === undefined) return undefined;
  return { family: family === 'IPv6' ? 6 : 4, address, port, flags: 0 };
}

/** The name of that address: the same in the primary and, by what Node's cluster tells them, in its workers. */
export function nameOf(handle: { getsockname?(out: SocketName): number }): string | undefined {
  const address = addressOf(handle);
  return address && groupKey(address);
}
