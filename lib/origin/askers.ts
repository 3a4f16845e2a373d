// SPDX-License-Identifier: Apache-2.0
import type { First } from '../hook/first-datagram';

/** How long another process's word that something has come before may be on its way. */
export const NEWS_MS = 100;
/** Addresses that are remembered at most, the latest. */
const MOST = 1_000;

/** When the first datagram of all processes went, and when the first one came. */
interface Firsts {
  sentMs: number;
  receivedMs: number;
}

/**
 * UDP sockets that ask: the first datagram is one that the app sends. The answers come to any of the processes that share
 * such a socket, not to the one that waits for them: it is for one process. A server that has been asked may have more to
 * say, from any process.
 */
export class Askers {
  private readonly firsts = new Map<string, Firsts>();

  /** @param asks this address asks, for all that is known by now */
  constructor(private readonly asks: (key: string) => void) {}

  /** In some process this was the first datagram of the socket there. */
  first(key: string, { way, atMs }: First): void {
    const { sentMs, receivedMs } = this.firsts.get(key) ?? {
      sentMs: Number.POSITIVE_INFINITY,
      receivedMs: Number.POSITIVE_INFINITY,
    };
    this.remember(key, {
      sentMs: way === 'sent' ? Math.min(sentMs, atMs) : sentMs,
      receivedMs: way === 'received' ? Math.min(receivedMs, atMs) : receivedMs,
    });
    if (way === 'received') return;
    setTimeout(() => {
      if (this.has(key)) this.asks(key);
    }, NEWS_MS).unref();
  }

  private remember(key: string, firsts: Firsts): void {
    this.firsts.delete(key);
    this.firsts.set(key, firsts);
    const [oldest] = this.firsts.keys();
    if (this.firsts.size > MOST) this.firsts.delete(oldest as string);
  }

  has(key: string): boolean {
    const firsts = this.firsts.get(key);
    return firsts !== undefined && firsts.sentMs < firsts.receivedMs;
  }
}
