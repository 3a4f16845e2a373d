// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import type { Addon } from '../native/addon';
import type { Handover } from '../workers/messages';

/** How long one look at the control socket may block while the origin decides about an address. */
const LOOK_MS = 250;
/** After this a worker that has no answer (a blocked origin) takes the address for its own. */
const PATIENCE_MS = 5_000;

export interface InheritedSocket {
  fd: number;
  generation: number;
}

/** A socket of the origin's group; the worker's own affair; an address that failed, or is no longer open, in the origin. */
export type Found =
  | ({ kind: 'group' } & InheritedSocket)
  | { kind: 'own' }
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

  constructor(
    private readonly addon: Addon,
    private readonly control: number,
  ) {}

  /** Reads what has arrived. Returns false when the origin is gone. */
  read(waitMs = 0): boolean {
    for (let wait = waitMs; ; wait = 0) {
      const received = this.addon.receive(this.control, wait);
      if (typeof received === 'number') return received !== 0;
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
    if (handover.own !== undefined) this.answers.set(handover.own, handover);
    handover.sockets.forEach(({ key, generation }, i) => {
      const fd = fds[i];
      if (fd === undefined) return;
      this.drop(key);
      this.sockets.set(key, { fd, generation });
    });
  }

  has(key: string): boolean {
    return this.sockets.has(key);
  }

  /** What this address is; `ask` puts the question to the origin. */
  find(key: string, ask: () => void): Found {
    if (!this.read()) return this.found(key);
    if (!this.sockets.has(key)) {
      ask();
      const end = performance.now() + PATIENCE_MS;
      while (!this.sockets.has(key) && !this.answers.has(key) && performance.now() < end) {
        if (!this.read(LOOK_MS)) break;
      }
    }
    return this.found(key);
  }

  private found(key: string): Found {
    const answer = this.answers.get(key);
    this.answers.delete(key);
    const socket = this.sockets.get(key);
    if (socket) return { kind: 'group', ...socket };
    const { error, past } = answer ?? {};
    debug(
      '%s is not in a group%s',
      key,
      error !== undefined ? `: failed in the origin (errno ${-error})` : past ? ' any more' : '',
    );
    if (error !== undefined) return { kind: 'failed', error };
    return { kind: past ? 'past' : 'own' };
  }

  /** Closes the kept descriptor: the origin closes the group. */
  drop(key: string, generation?: number): void {
    const socket = this.sockets.get(key);
    if (!socket || (generation !== undefined && socket.generation !== generation)) return;
    this.sockets.delete(key);
    this.addon.close(socket.fd);
  }
}
