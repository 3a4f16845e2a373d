// SPDX-License-Identifier: Apache-2.0
import { type Found, type LimitPlaces, type Limits, limitPlaces, limitsIn } from './cgroup';
import type { ReadText } from './read';

/** The app's own event loop has to look. */
export const FRESH_MS = 1_000;

type Read = (path: string) => string;

/** As it is when this is loaded: the app may replace it. */
const { readFileSync } = require('node:fs') as typeof import('node:fs');
const readFile: Read = (path) => readFileSync(path, 'utf8');

/** What is the matter where a file is not there; all else (no descriptors, no permission) says nothing of limits. */
const MISSING = 'ENOENT';

/**
 * The limits as they are while the app serves, from the files that name them alone. Where they are not known, now or any more
 * (no descriptors, another root, rights given up), that is not taken for none.
 */
export class LimitsNow {
  private group: { text: string; places: LimitPlaces } | undefined;
  /** Files that were there, of the group that the process is in. */
  private readonly there = new Set<string>();
  private last: { at: number; limits: Limits | undefined } | undefined;

  /** @param above a limit that was seen at the first listen() and cannot be looked at again */
  constructor(
    private readonly above?: Found,
    private readonly read = readFile,
  ) {
    this.now();
  }

  /**
   * No older than a second; undefined where they are not known.
   * @param at by performance.now()
   */
  now(at = performance.now()): Limits | undefined {
    if (!this.last || at - this.last.at >= FRESH_MS) this.last = { at, limits: this.look() };
    return this.last.limits;
  }

  private look(): Limits | undefined {
    try {
      const text = this.read('/proc/self/cgroup');
      if (this.group?.text !== text) {
        const places = limitPlaces(text, this.read('/proc/self/mountinfo'));
        this.group = { text, places };
      }
      const had = this.there.size > 0;
      const seen = new Set<string>();
      const limits = limitsIn(this.reading(seen), this.group.places, this.above);
      // those of another root are not missed one by one
      if (had && seen.size === 0) return undefined;
      for (const file of seen) this.there.add(file);
      return limits;
    } catch {
      return undefined;
    }
  }

  private reading(seen: Set<string>): ReadText {
    return (path) => {
      try {
        const text = this.read(path);
        seen.add(path);
        return text;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === MISSING && !this.there.has(path)) return undefined;
        throw error;
      }
    };
  }
}
