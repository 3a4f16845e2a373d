// SPDX-License-Identifier: Apache-2.0
// A run -> figures. Pure.
import type { Run, Sample } from './simulate';

/** Open connections and shares are even within this part of the mean ... */
const EVEN = 0.05;
/** ... and workers equally busy within this. */
const EQUALLY_BUSY = 0.12;
/** Even for so long is settled. */
const SETTLED_S = 1;
/** A share of the connections of one second scatters; so many standard deviations of it are no unevenness. */
const SIGMAS = 5;

export interface Figures {
  /** Seconds from the goal's moment until it is even for a second; undefined: never. */
  readonly settledS: number | undefined;
  /** Part of the time after that in which it is even. */
  readonly inside: number;
  /** Largest distance from the mean at the end: open connections, and a second's share. */
  readonly openSpread: number;
  /** Least and greatest share of the connections of a second, in fair shares, after it has settled. */
  readonly leastShare: number;
  readonly mostShare: number;
  readonly changes: number;
  /** In the last minute, or in all of it that there is; and in the minute with the most of them. */
  readonly changesAtEnd: number;
  readonly changesAMinute: number;
  readonly local: number;
  readonly leastFactor: number;
  readonly mostFactor: number;
}

export const spread = (values: readonly number[]): number =>
  values.reduce((most, value) => Math.max(most, Math.abs(value - 1)), 0);

function even({ scenario, accepted }: Run, { open, busy, share }: Sample): boolean {
  if (scenario.goal === 'open') return spread(open) <= EVEN;
  if (scenario.goal === 'share') {
    const each = accepted / scenario.seconds / scenario.workers;
    return spread(share) <= EVEN + SIGMAS / Math.sqrt(each);
  }
  const mean = busy.reduce((sum, each) => sum + each, 0) / busy.length;
  return Math.max(...busy) - mean <= EQUALLY_BUSY;
}

/** Utilisation of a tenth of a second scatters: means of a second. */
function calmed(samples: readonly Sample[]): Sample[] {
  return samples.map((sample, i) => {
    const last = samples.slice(Math.max(0, i - 9), i + 1);
    const busy = sample.busy.map(
      (_, worker) => last.reduce((sum, each) => sum + (each.busy[worker] as number), 0) / last.length,
    );
    return { ...sample, busy };
  });
}

/** Most of these moments within a minute. */
const mostAMinute = (moments: readonly number[]): number =>
  moments.reduce(
    (most, from, i) => Math.max(most, moments.slice(i).filter((at) => at < from + 60).length),
    0,
  );

export function figuresOf(run: Run): Figures {
  const { scenario, changes, local } = run;
  const samples = scenario.goal === 'busy' ? calmed(run.samples) : run.samples;
  const counted = samples.filter(({ at }) => at >= scenario.goalFrom);
  const good = counted.map((sample) => even(run, sample));
  const needed = SETTLED_S * 10;
  const start = good.findIndex(
    (_, i) => i + needed <= good.length && good.slice(i, i + needed).every(Boolean),
  );
  const after = start < 0 ? [] : good.slice(start);
  const settled = start < 0 ? counted : counted.slice(start);
  const traffic = settled.filter(({ share }) => share.some((each) => each !== 1));
  const shares = traffic.flatMap(({ share }) => share);
  const factors = samples.flatMap(({ factors }) => factors);
  const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);
  const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
  return {
    settledS: start < 0 ? undefined : (counted[start]?.at ?? 0) - scenario.goalFrom,
    inside: after.length > 0 ? after.filter(Boolean).length / after.length : 0,
    openSpread: spread(samples.at(-1)?.open ?? []),
    leastShare: shares.length > 0 ? least(shares) : 1,
    mostShare: shares.length > 0 ? most(shares) : 1,
    changes: changes.length,
    changesAtEnd: changes.filter((at) => at > scenario.seconds - 60).length,
    changesAMinute: mostAMinute(changes),
    local,
    leastFactor: least(factors),
    mostFactor: most(factors),
  };
}

/** Of several runs of one scenario: of each figure the middle one, or the one that is farthest from what should be. */
export function combined(all: readonly Figures[], which: 'median' | 'worst'): Figures {
  const of = (value: (figures: Figures) => number, worst: 'least' | 'most'): number => {
    const sorted = all.map(value).sort((a, b) => a - b);
    if (which === 'median') return sorted[sorted.length >> 1] as number;
    return (worst === 'least' ? sorted[0] : sorted.at(-1)) as number;
  };
  const settledS = of((figures) => figures.settledS ?? Infinity, 'most');
  return {
    settledS: settledS < Infinity ? settledS : undefined,
    inside: of(({ inside }) => inside, 'least'),
    openSpread: of(({ openSpread }) => openSpread, 'most'),
    leastShare: of(({ leastShare }) => leastShare, 'least'),
    mostShare: of(({ mostShare }) => mostShare, 'most'),
    changes: of(({ changes }) => changes, 'most'),
    changesAtEnd: of(({ changesAtEnd }) => changesAtEnd, 'most'),
    changesAMinute: of(({ changesAMinute }) => changesAMinute, 'most'),
    local: of(({ local }) => local, 'least'),
    leastFactor: of(({ leastFactor }) => leastFactor, 'least'),
    mostFactor: of(({ mostFactor }) => mostFactor, 'most'),
  };
}
