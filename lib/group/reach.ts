// SPDX-License-Identifier: Apache-2.0

const MAPPED = '::ffff:';
/** In groupKey(). */
const FAMILIES = ['4', '6', '6!'];

/** To connect() these are the loopback addresses (net/ipv4/route.c, ip_route_output_key_hash_rcu; net/ipv6/tcp_ipv6.c). */
export function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === `${MAPPED}0.0.0.0`;
}

/** 127.0.0.1 of ::ffff:127.0.0.1 (RFC 4291, 2.5.5.2). */
const unmapped = (address: string): string =>
  address.startsWith(MAPPED) && address.includes('.') ? address.slice(MAPPED.length) : address;

/**
 * Whether what connects to this address of this machine comes to the listener of that name.
 * @param key see groupKey(); those of sockets that are shared (datagramKey(), pathKey()) are none of a listener
 */
export function reaches(key: string, address: string, port: number): boolean {
  const [family = '', bound = '', number] = key.split('|');
  if (!FAMILIES.includes(family) || Number(number) !== port) return false;
  const listener = unmapped(bound);
  const to = unmapped(address);
  if (to === listener) return true;
  const four = !to.includes(':');
  if (listener === '::') return !(four && family === '6!');
  if (listener === '0.0.0.0') return four;
  return isAnyAddress(to) && listener === (four ? '127.0.0.1' : '::1');
}
