// SPDX-License-Identifier: Apache-2.0
import { FRESH_MS } from '../cpu/limits-now';
import type { Refusal } from '../group/refusal';
import { debug } from '../log';

/** For so long there has to be room before there are more workers, who are not ended again. The limits have been read anew. */
export const HOLDS_MS = FRESH_MS + 100;
/** What cannot be had now (descriptors) is not asked for at each look, and at ever longer intervals. */
export const REFUSED_MS = 60_000;
export const MOST_REFUSED_MS = 3_600_000;

export interface RoomHooks {
  /** Workers that live, or are about to. */
  count(): number;
  /** Workers serve, and nothing is closing. */
  settled(): boolean;
  /** As many as there may be by what those that there are weigh; asked where there is room for more only. */
  most(): number;
  /** So many more workers, of which there is one at least. Returns why there are fewer. */
  grow(by: number): Refusal | undefined;
  /** Looks now, and comes back by look(). */
  lookAgain(): void;
}

/**
 * When there is to be another number of workers. With room for more there are more, when that has been so for a while:
 * limits are changed one after the other, and may be changed back. With room for fewer nobody is ended; who ends is not replaced.
 */
export class Room {
  /** Workers that there is room for, as was last seen. */
  private holds = Number.POSITIVE_INFINITY;
  /** More than there are, and the least that was seen since. */
  private more: { least: number; again: boolean; timer: NodeJS.Timeout } | undefined;
  /** When more than these could not be had. */
  private refused: { until: number; pauseMs: number; most: number } | undefined;

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
      const timer = setTimeout(() => this.again(), HOLDS_MS).unref();
      this.more = { least: bearable, again: false, timer };
      return;
    }
    more.least = Math.min(more.least, bearable);
    if (more.again) this.grow(more.least, now);
  }

  private toBeHad(holds: number, now: number): number {
    const { refused } = this;
    return refused && now < refused.until ? Math.min(holds, refused.most) : holds;
  }

  private grow(to: number, now: number): void {
    const { hooks } = this;
    this.forget();
    const by = to - hooks.count();
    if (by <= 0) return;
    const refusal = hooks.grow(by);
    if (refusal) this.refuse(to, refusal, now);
    // a place that was free says nothing of others
    else if (this.refused && to > this.refused.most) this.refused = undefined;
  }

  private refuse(wanted: number, { why, lasts }: Refusal, now: number): void {
    const most = this.hooks.count();
    const again = this.refused ? Math.min(MOST_REFUSED_MS, 2 * this.refused.pauseMs) : REFUSED_MS;
    const pauseMs = lasts ? Number.POSITIVE_INFINITY : again;
    this.refused = { until: now + pauseMs, pauseMs, most };
    const next = lasts ? 'for good' : `for ${pauseMs / 1000} s`;
    debug(
      'there is room for %d workers, and more than %d are not to be had: %s; %s',
      wanted,
      most,
      why,
      next,
    );
  }

  /** How many more than those that there are would find room; below zero: there are too many. */
  get free(): number {
    return this.holds - this.hooks.count();
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
