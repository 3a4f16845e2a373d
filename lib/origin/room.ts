// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import { AGAIN_MS } from './cpu-set';

/** What cannot be had now (descriptors, a socket as another user) is not asked for at each look. */
export const REFUSED_MS = 60_000;

export interface RoomHooks {
  /** Workers that live, or are about to. */
  count(): number;
  /** Workers serve, and nothing is closing. */
  settled(): boolean;
  /** As many as there may be by what those that there are weigh; asked where there is room for more only. */
  most(): number;
  /** So many more workers. Returns why there are fewer. */
  grow(by: number): string | undefined;
  /** Looks now, and comes back by look(). */
  lookAgain(): void;
}

/**
 * When there is to be another number of workers. With room for more there are more, when that has been seen twice: limits
 * are changed one after the other. With room for fewer nobody is ended; who ends is not replaced.
 */
export class Room {
  /** Workers that there is room for, as was last seen. */
  private holds = Number.POSITIVE_INFINITY;
  /** More than there are, and the least that was seen since. */
  private more: { least: number; again: boolean; timer: NodeJS.Timeout } | undefined;
  /** When more than these could not be had. */
  private refused: { at: number; most: number } | undefined;

  constructor(private readonly hooks: RoomHooks) {}

  /**
   * @param holds workers that there is room for
   * @param now by performance.now()
   */
  look(holds: number, now = performance.now()): void {
    this.holds = holds;
    const { hooks, more } = this;
    const wanted = this.toBeHad(holds, now);
    if (wanted <= hooks.count() || !hooks.settled()) return this.forget();
    const bearable = Math.min(wanted, hooks.most());
    if (bearable <= hooks.count()) return this.forget();
    if (!more) {
      const timer = setTimeout(() => this.again(), AGAIN_MS).unref();
      this.more = { least: bearable, again: false, timer };
      return;
    }
    more.least = Math.min(more.least, bearable);
    if (more.again) this.grow(more.least, now);
  }

  private toBeHad(holds: number, now: number): number {
    const { refused } = this;
    return refused && now - refused.at < REFUSED_MS ? Math.min(holds, refused.most) : holds;
  }

  private grow(to: number, now: number): void {
    const { hooks } = this;
    this.forget();
    const why = hooks.grow(to - hooks.count());
    if (why === undefined) return;
    this.refused = { at: now, most: hooks.count() };
    debug('there is room for %d workers, and more than %d are not to be had: %s', to, hooks.count(), why);
  }

  /** Another worker than those that there are would find room. */
  get hasRoom(): boolean {
    return this.hooks.count() < this.holds;
  }

  private again(): void {
    if (this.more) this.more.again = true;
    this.hooks.lookAgain();
    this.forget();
  }

  private forget(): void {
    clearTimeout(this.more?.timer);
    this.more = undefined;
  }
}
