// SPDX-License-Identifier: Apache-2.0
// How often new shares are worth new tables. Each is a program to generate, and to attach to every group.
//
// Shares cannot keep anybody at the mean, only chance's distance from it small: whom a connection goes to is drawn. While more
// come than go, what has come since the last table is what chance has had its part in, and there is another table before that
// can be seen. Where as many go as come chance never ends, and there is one from time to time.

/** Shares that stand for so long are looked at again ... */
const STEADY_MS = 1_500;
/**
 * ... and sooner when m more connections are open for each worker. Chance makes that sqrt(m) more or less, and the outermost of
 * n workers is off by sqrt(2 ln 2n) times as much (about the largest of 2n normally distributed ones): before that is this
 * part of the mean, ...
 */
const NOISE = 0.025;
/** ... but not for less than this m, and whatever chance may do when it is this part of the mean. */
const FEWEST_EACH = 10;
const MOST_PART = 0.1;
/** So many tables may come before STEADY_MS in a burst. They come back one by one in this time: no more than 48 a minute for long. */
const MOST_CREDIT = 30;
const REFILL_MS = 1_250;

/** Since the last shares. */
export interface Pace {
  readonly ms: number;
  /** Open connections of all workers then. */
  readonly openThen: number;
  /** Tables that may come before their time. */
  readonly credit: number;
}

/** The first shares are always due. */
export const AT_ONCE: Pace = { ms: Infinity, openThen: 0, credit: MOST_CREDIT };

export interface Opened {
  readonly workers: number;
  /** Open connections, of a worker on the average and of all. */
  readonly meanOpen: number;
  readonly open: number;
  /** By how many those of all workers grow in a second. */
  readonly growth: number;
}

/** So many more, of all workers, may make one of them noticeably uneven by chance. */
function noticeable({ workers, meanOpen }: Opened): number {
  const outermost = Math.sqrt(2 * Math.log(2 * workers));
  const byChance = ((NOISE * meanOpen) / outermost) ** 2;
  return workers * Math.max(FEWEST_EACH, Math.min(byChance, MOST_PART * meanOpen));
}

/**
 * For how long shares that are given now are likely to stand, in ms.
 *
 * @param lookMs time between two looks
 */
export function standsMs(opened: Opened, { credit }: Pace, lookMs: number): number {
  if (opened.growth <= 0 || credit < 1) return STEADY_MS;
  const looks = Math.ceil((1_000 * noticeable(opened)) / opened.growth / lookMs);
  return Math.min(STEADY_MS, Math.max(1, looks) * lookMs);
}

export function later({ ms, openThen, credit }: Pace, elapsedMs: number): Pace {
  return {
    ms: ms + elapsedMs,
    openThen,
    credit: Math.min(MOST_CREDIT, credit + elapsedMs / REFILL_MS),
  };
}

/** The shares have had their time. */
export const steady = ({ ms }: Pace): boolean => ms >= STEADY_MS;

/** So many more are open that new shares are due before their time. */
export function grown({ openThen, credit }: Pace, opened: Opened): boolean {
  return credit >= 1 && opened.open - openThen >= noticeable(opened);
}

/**
 * Shares have been given.
 *
 * @param tables that this takes: 0 where they are the same as before
 */
export function given({ credit }: Pace, { open }: Opened, tables: 0 | 1): Pace {
  return { ms: 0, openThen: open, credit: Math.max(0, credit - tables) };
}
