// SPDX-License-Identifier: Apache-2.0

/** One value a round, in the order of the rounds; undefined where a round has none. */
export type Series = readonly (number | undefined)[];

const known = (series: Series): number[] => series.filter((value) => value !== undefined);

/** The middle value, or the mean of the two middle ones; undefined where there is none. */
export function median(series: Series): number | undefined {
  const sorted = known(series).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** Rounds below which no interval of the median can be given. */
export const FEWEST_FOR_INTERVAL = 6;

/**
 * The narrowest pair of values, symmetric by rank, that holds the true median in at least 95 of 100 cases, whatever the
 * distribution: the number of values below the median is binomial with p = 1/2 (the interval of the sign test). Below
 * FEWEST_FOR_INTERVAL values not even the smallest and the largest do, and these are given; undefined where there is none.
 */
export function medianInterval(series: Series): [low: number, high: number] | undefined {
  const sorted = known(series).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const n = sorted.length;
  let outside = 0; // ranks left out at each end
  let exactly = 0.5 ** n; // P(exactly `outside` values lie below the median)
  let atMost = exactly;
  for (; ; outside++) {
    exactly *= (n - outside) / (outside + 1);
    atMost += exactly;
    if (atMost > 0.025) break;
  }
  return [sorted[outside] as number, sorted[n - 1 - outside] as number];
}

/** How two modes compare, round by round: only what was measured within one round is divided by each other. */
export interface Ratio {
  median: number;
  low: number;
  high: number;
  rounds: number;
}

/** series / base of each round that has both; undefined where there is no such round. */
export function ratio(series: Series, base: Series): Ratio | undefined {
  const ratios = known(
    series.map((value, round) => {
      const divisor = base[round];
      return value === undefined || !divisor ? undefined : value / divisor;
    }),
  );
  const middle = median(ratios);
  if (middle === undefined) return undefined;
  return { median: middle, low: Math.min(...ratios), high: Math.max(...ratios), rounds: ratios.length };
}

/** Two identical servers differ by this much in a run of a few seconds on a shared machine. */
const NOISE = 0.05;

/** Whether a ratio says anything: every round on the same side of 1, and the median beyond the noise. */
export function verdictOf({ median: middle, low, high, rounds }: Ratio): 'more' | 'less' | 'same' {
  if (rounds < 2) return 'same';
  if (low > 1 && middle > 1 + NOISE) return 'more';
  if (high < 1 && middle < 1 - NOISE) return 'less';
  return 'same';
}
