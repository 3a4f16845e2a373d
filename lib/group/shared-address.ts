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

/** UV_UDP_REUSEADDR, UV_UDP_REUSEPORT (libuv, include/uv.h): what dgram's reuseAddr and reusePort mean. */
const REUSE = 4 | 64;
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

/**
 * `reuseAddr` and `reusePort` say that several processes may have the port, each with a socket of its own: every one of
 * these gets each datagram to a multicast group or to all (net/ipv4/udp.c, __udp4_lib_mcast_deliver), where a shared socket
 * would give it to one process. Who looks for others that way (mDNS, SSDP, DHCP) must hear all answers.
 */
export function hasOwnSockets({ flags }: BindArguments): boolean {
  return (flags & REUSE) !== 0;
}

export function datagramKey(bind: BindArguments): string {
  return `udp${groupKey(bind)}`;
}

/** Whether a key is one of these, not a listener group's. */
export function isSharedKey(key: string): boolean {
  return key.startsWith('udp') || pathOfKey(key) !== undefined;
}

export function sharedKey(address: SharedAddress): string {
  return address.kind === 'path' ? pathKey(address.path) : datagramKey(address.bind);
}

/** `udp4|127.0.0.1|53` -> `UDP port 127.0.0.1:53` */
export function describeDatagram(key: string): string {
  const [family = '', address = '', port] = key.split('|');
  return `UDP port ${family.startsWith('udp6') ? `[${address}]` : address}:${port}`;
}

/** What readableAll and writableAll mean to fchmod(), 0 without either. */
export function pathMode({
  readableAll,
  writableAll,
}: Pick<SharedQuery, 'readableAll' | 'writableAll'>): number {
  return (readableAll ? UV_READABLE : 0) | (writableAll ? UV_WRITABLE : 0);
}

/** The address that a query asks for, undefined where it is no affair of others: TCP, a descriptor, a port 0, reuseAddr. */
export function sharedAddress(query: SharedQuery): SharedAddress | undefined {
  const { address, addressType, fd, flags } = query;
  if (typeof address !== 'string' || (typeof fd === 'number' && fd >= 0)) return undefined;
  if (addressType === -1) {
    return { kind: 'path', path: pathOfKey(pathKey(address)) as string, mode: pathMode(query) };
  }
  const port = Number(query.port);
  if ((addressType !== 'udp4' && addressType !== 'udp6') || !(port > 0)) return undefined;
  const bind: BindArguments = { family: addressType === 'udp6' ? 6 : 4, address, port, flags: flags ?? 0 };
  return hasOwnSockets(bind) ? undefined : { kind: 'udp', bind };
}

/** There is no socket. */
const NONE = '';

/**
 * The file that a path leads to, as `device:inode`. As long as somebody has the socket that was bound there no other file
 * gets this inode: the socket holds on to it (net/unix/af_unix.c, unix_bind_bsd), removed or not.
 * @returns an empty string where no socket is, undefined where that cannot be told, or for another kind of address
 */
export function fileOf(key: string): string | undefined {
  const path = pathOfKey(key);
  if (path === undefined || isAbstract(path)) return undefined;
  const { lstatSync } = require('node:fs') as typeof import('node:fs');
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false, bigint: true });
    return stat?.isSocket() ? `${stat.dev}:${stat.ino}` : NONE;
  } catch (error) {
    // ENOTDIR says so, too, in Node 20; who may not look (EACCES, after setuid) does not know
    return (error as NodeJS.ErrnoException).code === 'ENOTDIR' ? NONE : undefined;
  }
}

/**
 * False for a path that has been removed, or leads to somebody else's socket.
 * @param file what fileOf() has said when the socket was bound; undefined where that is not known
 */
export function isThere(key: string, file: string | undefined): boolean {
  const found = fileOf(key);
  return found === undefined || (found !== NONE && (file === undefined || found === file));
}
