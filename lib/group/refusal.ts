// SPDX-License-Identifier: Apache-2.0

/** EAGAIN, ENOMEM, ENFILE, EMFILE, EADDRINUSE, ENOBUFS: what is missing now, or in the way, need not be so later. */
const PASSING: ReadonlySet<number> = new Set([11, 12, 23, 24, 98, 105]);

/** Why there are no more sockets. */
export interface Refusal {
  readonly why: string;
  /** It would be the same at any other time. */
  readonly lasts: boolean;
  /** The negative errno. */
  readonly error?: number;
}

/** @param error a negative errno */
export function refusal(what: string, error: number): Refusal {
  return { why: `${what} (errno ${-error})`, lasts: !PASSING.has(-error), error };
}
