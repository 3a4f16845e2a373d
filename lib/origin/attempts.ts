// SPDX-License-Identifier: Apache-2.0
import type { Handover } from '../workers/messages';

/** What became of the addresses that the app has tried in the origin: its copies try the same, and fare the same. */
export class Attempts {
  private readonly refused = new Map<string, number>();
  private readonly past = new Set<string>();
  private readonly probed = new Set<string>();
  private readonly alone = new Set<string>();

  /** @param error negative errno */
  failed(key: string, error: number): void {
    this.refused.set(key, error);
  }

  get history(): [key: string, error: number][] {
    return [...this.refused];
  }

  opened(key: string): void {
    this.refused.delete(key);
    this.alone.delete(key);
  }

  /** The origin listens there, and has no sockets for workers. */
  servedAlone(key: string): void {
    this.alone.add(key);
  }

  /** Addresses that the origin serves alone. */
  get aloneNow(): string[] {
    return [...this.alone];
  }

  /** Listened on and closed again: to see whether the port is free, for one. */
  closed(key: string): void {
    this.past.add(key);
    this.alone.delete(key);
  }

  /** The copy has closed it again, too. */
  closedInCopy(key: string): void {
    this.probed.add(key);
  }

  wasClosedInCopy(key: string): boolean {
    return this.probed.has(key);
  }

  /**
   * The answer to a worker that wants an address which the origin does not listen on; undefined where it has no history.
   * @param serves the worker serves already: what it opens now is its own
   */
  answer(key: string, serves: boolean): Pick<Handover, 'error' | 'past'> | undefined {
    const error = this.refused.get(key);
    if (error !== undefined) return { error };
    // it would find the address taken
    if (this.alone.has(key)) return { past: true };
    if (serves || !this.past.has(key)) return undefined;
    this.probed.delete(key);
    return { past: true };
  }
}
