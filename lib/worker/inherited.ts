// SPDX-License-Identifier: Apache-2.0
import { isThere } from '../group/shared-address';
import type { ServerData } from '../hook/server-data';
import type { Descriptors } from '../hook/shared-handles';
import { debug, debugOnce } from '../log';
import type { Addon } from '../native/addon';
import { isRefusal } from '../native/refusals';
import type { EarlyConnect } from '../origin/early-connects';
import type { Handover } from '../workers/messages';

export interface InheritedSocket {
  fd: number;
  generation: number;
  once: boolean;
  file: string | undefined;
  /** See setServerData(). */
  data: ServerData | undefined;
}

/** A socket of the origin's group; the worker's own affair; an address that failed in the origin, or that it no longer shares. */
export type Found =
  | ({ kind: 'group' } & InheritedSocket)
  | { kind: 'own'; granted: boolean }
  | { kind: 'failed'; error: number }
  | { kind: 'past' };

/**
 * The sockets that the origin has handed down, by address. They are kept while the origin keeps the group, so that a
 * worker may close its server and listen again; every listen() uses a duplicate.
 */
export class InheritedSockets {
  private readonly sockets = new Map<string, InheritedSocket>();
  /** Answers of the origin about addresses that it has no socket for. */
  private readonly answers = new Map<string, Handover>();

  /** Addresses that the origin has failed to get before this copy was started. */
  private readonly refused = new Map<string, number>();

  /** Changes of user and groups that the origin has been through before this copy was started. */
  readonly credentials = new Set<string>();

  /** What the app had asked about its own ports in the origin. */
  early: readonly EarlyConnect[] = [];
  /** Addresses that the origin serves alone. */
  private alone: readonly string[] = [];
  /** Addresses on which a server here believes to listen, or has believed it. */
  private readonly believed = new Set<string>();

  /** This worker's place in the balancing; see Addon.balanceSeat. */
  private seat: number[] = [];

  /** The port that the origin has opened for port 0; see judged.ts. */
  opened: number | undefined;
  /** The negative errno with which nothing can be received here; 0: that has not happened. */
  unreadable = 0;

  constructor(
    private readonly addon: Addon,
    private readonly control: number,
  ) {}

  /** Reads what has arrived. Returns false when the origin is gone. */
  read(waitMs = 0): boolean {
    for (let wait = waitMs; ; wait = 0) {
      const received = this.addon.receive(this.control, wait);
      if (typeof received === 'number') {
        if (isRefusal(received)) this.unreadable = received;
        return received !== 0;
      }
      this.take(received.text, received.fds);
    }
  }

  private take(text: string, fds: number[]): void {
    let handover: Handover;
    try {
      handover = JSON.parse(text) as Handover;
    } catch {
      for (const fd of fds) this.addon.close(fd);
      return;
    }
    if (handover.seat) this.seat = fds.splice(handover.sockets.length);
    this.opened = handover.opened ?? this.opened;
    this.early = handover.early ?? this.early;
    this.alone = handover.alone ?? this.alone;
    if (handover.own !== undefined) this.answers.set(handover.own, handover);
    for (const call of handover.credentials ?? []) this.credentials.add(call);
    for (const [key, error] of handover.refused ?? []) this.refused.set(key, error);
    handover.sockets.forEach(({ key, generation, once = false, file, data }, i) => {
      const fd = fds[i];
      if (fd === undefined) return;
      this.drop(key);
      this.answers.delete(key);
      this.refused.delete(key);
      this.sockets.set(key, { fd, generation, once, file, data });
    });
  }

  /** Once; the descriptors are the caller's. */
  takeSeat(): [page: number, offers: number, wake: number] | undefined {
    const seat = this.seat.splice(0);
    if (seat.length === 3) return seat as [number, number, number];
    for (const fd of seat) this.addon.close(fd);
    return undefined;
  }

  has(key: string): boolean {
    return this.sockets.has(key);
  }

  /** Whether the socket of a path is here and the path still leads to it. */
  isThere(key: string): boolean {
    const socket = this.sockets.get(key);
    return socket !== undefined && isThere(key, socket.file);
  }

  get keys(): string[] {
    return [...this.sockets.keys()];
  }

  /** Addresses that the origin listens on; of those that it serves alone the ones on which this worker has not come to. */
  get listenedOn(): string[] {
    return [...this.keys, ...this.alone.filter((key) => !this.believed.has(key))];
  }

  isAnswered(key: string): boolean {
    return this.answers.has(key) || this.refused.has(key);
  }

  /** What this address is. */
  find(key: string): Found {
    const answer = this.answers.get(key);
    this.answers.delete(key);
    const socket = this.sockets.get(key);
    if (socket) return { kind: 'group', ...socket };
    const { error = this.refused.get(key), past } = answer ?? {};
    debug(
      '%s is not in a group%s',
      key,
      error !== undefined ? `: failed in the origin (errno ${-error})` : past ? ' any more' : '',
    );
    if (error !== undefined) return { kind: 'failed', error };
    if (!past) return { kind: 'own', granted: answer !== undefined };
    this.believed.add(key);
    return { kind: 'past' };
  }

  /**
   * A duplicate of this address's descriptor; or itself, which is the caller's from now on, and the address is asked for anew
   * the next time.
   */
  duplicate(key: string, fd: number): number {
    const copy = this.addon.dup(fd);
    if (copy >= 0) return copy;
    debugOnce('%s is asked for again when its server has closed: fcntl fails (errno %d)', key, -copy);
    const socket = this.sockets.get(key);
    this.sockets.delete(key);
    return socket?.fd ?? copy;
  }

  /** What gives a handle the socket of this address. */
  descriptors(key: string): Descriptors {
    const { addon } = this;
    return {
      dup: (fd) => this.duplicate(key, fd),
      close: (fd) => addon.close(fd),
      occupy: (fd, from) => addon.occupy(fd, from),
    };
  }

  /** Closes the kept descriptor: the origin closes the group. */
  drop(key: string, generation?: number): void {
    const socket = this.sockets.get(key);
    if (!socket || (generation !== undefined && socket.generation !== generation)) return;
    this.sockets.delete(key);
    this.addon.close(socket.fd);
  }

  /** The server on this address has closed. Returns whether the descriptor went with it. */
  serverClosed(key: string, generation: number): boolean {
    if (this.sockets.get(key)?.once) this.drop(key, generation);
    return this.sockets.get(key)?.generation !== generation;
  }
}
