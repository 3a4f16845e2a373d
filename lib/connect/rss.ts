// SPDX-License-Identifier: Apache-2.0
// Which source ports bring their replies to which queue of a network card.
import type { Rss } from '../native/addon';
import { portParts, toeplitz } from './toeplitz';

/** include/uapi/linux/ethtool.h: ETH_RSS_HASH_TOP is bit 0; RXH_IP_SRC, IP_DST, L4_B_0_1 and L4_B_2_3. */
const TOEPLITZ = 1;
const FOUR_TUPLE = 0xf0;

export interface Flow {
  /** 4 or 16 bytes each. */
  remote: Uint8Array;
  local: Uint8Array;
  remotePort: number;
}

/** Why this card's queues cannot be foretold for IPv4 or IPv6; undefined where they can. */
export function whyNotForetold(rss: Rss, family: 4 | 6): string | undefined {
  const { table, key, hashFunction, transform } = rss;
  if (new Set(table).size < 2) return 'it has one queue';
  if (hashFunction !== TOEPLITZ) return `its hash function is number ${hashFunction}, not Toeplitz`;
  if (transform !== 0) return `it transforms what it hashes (number ${transform})`;
  if ((table.length & (table.length - 1)) !== 0) return `its table has ${table.length} entries`;
  // addresses and ports, and 32 bits more
  if (key.length < (family === 4 ? 12 : 36) + 4) return `its key has ${key.length} bytes`;
  const fields = family === 4 ? rss.fields4 : rss.fields6;
  if (fields !== FOUR_TUPLE) return `it does not hash addresses and ports of TCP (${fields})`;
  return undefined;
}

/** As the card sees the reply: its source is our remote end. */
export function replyTuple({ remote, local, remotePort }: Flow, localPort: number): Uint8Array {
  const bytes = new Uint8Array(remote.length + local.length + 4);
  bytes.set(remote);
  bytes.set(local, remote.length);
  new DataView(bytes.buffer).setUint16(bytes.length - 4, remotePort);
  new DataView(bytes.buffer).setUint16(bytes.length - 2, localPort);
  return bytes;
}

/** Foretells one card's queues. What belongs to the ports alone is computed once for each family. */
export class Forecast {
  private readonly parts = new Map<number, Uint16Array>();

  constructor(private readonly rss: Rss) {}

  queueOf(flow: Flow, localPort: number): number {
    const { key, table } = this.rss;
    return table[toeplitz(key, replyTuple(flow, localPort)) & (table.length - 1)] as number;
  }

  /** The ports whose replies come to one of these queues: one bit each, as Addon.steerDestination() takes them. */
  portsTo(flow: Flow, queues: ReadonlySet<number>): Uint8Array {
    const { key, table } = this.rss;
    const mask = table.length - 1;
    const tuple = replyTuple(flow, 0);
    const base = toeplitz(key, tuple) & mask;
    const parts = this.parts.get(tuple.length) ?? portParts(key, tuple.length, mask);
    this.parts.set(tuple.length, parts);
    const wanted = Uint8Array.from(table, (queue) => (queues.has(queue) ? 1 : 0));
    const ports = new Uint8Array(parts.length / 8);
    for (let port = 0; port < parts.length; port++) {
      if (wanted[base ^ (parts[port] as number)] === 1) {
        const at = port >> 3;
        ports[at] = (ports[at] as number) | (1 << (port & 7));
      }
    }
    return ports;
  }
}
