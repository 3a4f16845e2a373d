// SPDX-License-Identifier: Apache-2.0
// Sockets that all processes of the tree share: one server on a path, one UDP socket on a fixed port.
import { type BindArguments, groupKey } from './key';

export type SharedAddress =
  /** `mode`: UV_READABLE and UV_WRITABLE, which net's readableAll and writableAll mean (lib/net.js, Server.prototype.listen). */
  { kind: 'path'; path: string; mode: number } | { kind: 'udp'; bind: BindArguments };

/** What cluster asks about a listen() on a path, or a bind() of dgram (lib/net.js, lib/dgram.js). */
export interface SharedQuery {
  address: unknown;
  port: unknown;
  addressType: number | string;
  flags?: number | null;
  fd?: number;
  readableAll?: boolean;
  writableAll?: boolean;
}

const UV_READABLE = 1;
const UV_WRITABLE = 2;

/** unix(7): a name without a file, and without a working directory. */
export function isAbstract(path: string): boolean {
  return path.startsWith('\0');
}

/** Processes may have different working directories: cluster resolves paths, too (lib/internal/cluster/child.js). */
export function pathKey(path: string): string {
  const { resolve } = require('node:path') as typeof import('node:path');
  return `unix|${isAbstract(path) ? path : resolve(path)}`;
}

/** The path of a key, undefined for another kind of address. */
export function pathOfKey(key: string): string | undefined {
  return key.startsWith('unix|') ? key.slice('unix|'.length) : undefined;
}

export function datagramKey(bind: BindArguments): string {
  return `udp${groupKey(bind)}`;
}

export function sharedKey(address: SharedAddress): string {
  return address.kind === 'path' ? pathKey(address.path) : datagramKey(address.bind);
}

/** The address that a query asks for, undefined where it is no affair of others: TCP, a descriptor, a port 0. */
export function sharedAddress(query: SharedQuery): SharedAddress | undefined {
  const { address, addressType, fd, flags } = query;
  if (typeof address !== 'string' || (typeof fd === 'number' && fd >= 0)) return undefined;
  if (addressType === -1) {
    const mode = (query.readableAll ? UV_READABLE : 0) | (query.writableAll ? UV_WRITABLE : 0);
    return { kind: 'path', path: pathOfKey(pathKey(address)) as string, mode };
  }
  const port = Number(query.port);
  if ((addressType !== 'udp4' && addressType !== 'udp6') || !(port > 0)) return undefined;
  return { kind: 'udp', bind: { family: addressType === 'udp6' ? 6 : 4, address, port, flags: flags ?? 0 } };
}

/** False for a path that has been removed: it leads to nobody's server any more. */
export function isThere(key: string): boolean {
  const path = pathOfKey(key);
  if (path === undefined || isAbstract(path)) return true;
  const { lstatSync } = require('node:fs') as typeof import('node:fs');
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
  } catch (error) {
    // ENOTDIR says so, too, in Node 20; who may not look (EACCES, after setuid) does not know
    return (error as NodeJS.ErrnoException).code !== 'ENOTDIR';
  }
}
