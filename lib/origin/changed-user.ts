// SPDX-License-Identifier: Apache-2.0
import type { Refusal } from '../group/refusal';
import { debugOnce } from '../log';

/** What the calls may take of the message that a worker starts with, in characters. */
const MOST = 8_192;

const identity = () => String([process.geteuid?.(), process.getegid?.(), groups()]);

function groups(): number[] | undefined {
  try {
    return process.getgroups?.();
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    debugOnce(
      'of a change of groups alone nothing is known: getgroups fails (errno %d)',
      Math.abs(errno ?? 0),
    );
    return undefined;
  }
}

/**
 * How the app has changed its user and groups in the origin (process.setuid() and the like). Copies that are started later
 * are that user from the first line on, and may not do what the origin could: initgroups() is EPERM there.
 */
export class ChangedUser {
  private readonly calls = new Set<string>();
  private readonly start = identity();

  /** @param call name and arguments, as JSON */
  changed(call: string): void {
    this.calls.add(call);
  }

  /** What a copy has inherited. */
  get inherited(): string[] {
    const calls = [...this.calls];
    return JSON.stringify(calls).length > MOST ? [] : calls;
  }

  /** Who the app is now; undefined: who has started it. */
  get now(): string | undefined {
    if (this.calls.size === 0 || identity() === this.start) return undefined;
    return `user ${process.geteuid?.()} and group ${process.getegid?.()}`;
  }

  /** Why a copy has failed, with what may explain it. */
  explain(reason: string): string {
    return this.now === undefined ? reason : `${reason} (started as ${this.now}, which the app has become)`;
  }
}

const EADDRINUSE = -98;

/**
 * Why there are no more sockets on a port, with what may explain it: the kernel lets nobody else have them than the user of
 * the first ones (net/ipv4/inet_connection_sock.c, inet_bind_conflict: uid_eq).
 */
export function refusedAs(refusal: Refusal, { now }: Pick<ChangedUser, 'now'>): Refusal {
  if (now === undefined) return refusal;
  const lasts = refusal.lasts || refusal.error === EADDRINUSE;
  return { ...refusal, why: `${refusal.why} as ${now}, which the app has become`, lasts };
}
