// SPDX-License-Identifier: Apache-2.0
// Without a steering program the kernel's hash selects every socket that listens: what nobody serves has to leave.

/** How long the socket of a worker that has ended waits for a successor, served by the origin. */
export const LINGER_MS = 2_000;
/**
 * Between the last SYN that a socket takes and its shutdown, which resets handshakes under way: more than a round trip.
 * Less than the second after which a client sends a dropped SYN again (RFC 6298, 2; include/net/tcp.h,
 * TCP_TIMEOUT_INIT): it finds another socket then.
 */
export const HANDSHAKE_MS = 300;

export interface DepartureHooks {
  dropSyn(index: number): void;
  keepSyn(index: number): void;
  /** The socket leaves LISTEN. */
  shut(index: number): void;
  /** A process has a duplicate: it may listen at any moment, and a shutdown would end that, too. */
  held(index: number): boolean;
}

interface Departure {
  since: number;
  /** When the socket began to take no more SYNs. */
  quietSince?: number;
}

/** Which sockets of a group have left the kernel's selection, and which are about to. Index 0 is the origin's. */
export class Departures {
  private readonly away: Set<number>;
  private readonly going = new Map<number, Departure>();

  constructor(
    private readonly hooks: DepartureHooks,
    away: Iterable<number> = [],
  ) {
    this.away = new Set(away);
  }

  get under(): boolean {
    return this.going.size > 0;
  }

  get left(): ReadonlySet<number> {
    return this.away;
  }

  /** This socket has not come to listen. */
  absent(index: number): void {
    this.away.add(index);
  }

  /** Nobody serves this socket from now on. */
  begin(index: number, now = performance.now()): void {
    if (!this.away.has(index) && !this.going.has(index)) this.going.set(index, { since: now });
  }

  /** Somebody serves this socket, which listens. */
  end(index: number): void {
    if (this.going.get(index)?.quietSince !== undefined) this.hooks.keepSyn(index);
    this.going.delete(index);
    this.away.delete(index);
  }

  /** Has to be called again and again while departures are under way. */
  advance(now = performance.now()): void {
    for (const [index, departure] of this.going) {
      const { since, quietSince } = departure;
      if (this.hooks.held(index)) {
        if (quietSince !== undefined) this.hooks.keepSyn(index);
        this.going.set(index, { since: now });
      } else if (quietSince !== undefined) {
        if (now - quietSince >= HANDSHAKE_MS) this.leave(index);
      } else if (index === 0 || now - since >= LINGER_MS) {
        this.hooks.dropSyn(index);
        departure.quietSince = now;
      }
    }
  }

  private leave(index: number): void {
    this.going.delete(index);
    this.hooks.shut(index);
    this.hooks.keepSyn(index);
    this.away.add(index);
  }
}
