// SPDX-License-Identifier: Apache-2.0

/** The arguments of a TCP handle's bind() or bind6(), before the kernel has seen them. */
export interface BindArguments {
  family: 4 | 6;
  address: string;
  port: number;
  /** UV_TCP_IPV6ONLY = 1, UV_TCP_REUSEPORT = 2 (libuv include/uv.h, enum uv_tcp_flags). */
  flags: number;
}

export const IPV6_ONLY = 1;
export const REUSE_PORT = 2;

/**
 * Names a listener group: the same in the origin and in every worker. Systems that went by address and port alone
 * mixed up sockets (Envoy #8427, systemd #19843); the third part, the index, is the position in the group.
 */
export function groupKey({ family, address, port, flags }: BindArguments): string {
  const only = family === 6 && (flags & IPV6_ONLY) !== 0 ? '!' : '';
  return `${family}${only}|${address}|${port}`;
}

/**
 * listen(port) tries `::` first and takes 0.0.0.0 where that fails (lib/net.js, setupListenHandle). A worker asked to
 * bind `::` whose origin ended up with 0.0.0.0 must fail the same way: this is the key to look for then.
 */
export function ipv4Fallback(bind: BindArguments): string | undefined {
  if (bind.family !== 6 || bind.address !== '::') return undefined;
  return groupKey({ family: 4, address: '0.0.0.0', port: bind.port, flags: 0 });
}

/** What cluster asks about one listen() (lib/internal/cluster/child.js, getServer). */
export interface ListenQuery {
  address: unknown;
  port: number;
  addressType: number | string;
  flags: number;
}

/** The names that an address may have in the origin: without a host net.js tries `::`, then 0.0.0.0. */
export function keysOf({ address, port, addressType, flags }: ListenQuery): string[] {
  if (typeof address === 'string') {
    return [groupKey({ family: addressType === 6 ? 6 : 4, address, port, flags: flags ?? 0 })];
  }
  const any = { family: 6, address: '::', port, flags: flags ?? 0 } as const;
  return [groupKey(any), ipv4Fallback(any) as string];
}

/** True for an address that only loopback traffic can reach. */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}
