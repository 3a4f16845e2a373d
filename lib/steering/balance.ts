// SPDX-License-Identifier: Apache-2.0
// Figures of the workers -> each one's share of the new connections. For what lasts: a worker that is blocked for a moment
// is helped by its siblings within milliseconds, and this has no part in that.

import { type Load, NO_LOAD, SATURATED, smoothed, stepLoad } from './balance-load';
import { EVEN, type Evenness, stepOpen, type Traffic, worthOpen } from './balance-open';
import { AT_ONCE, given, grown, later, type Opened, type Pace, standsMs, steady } from './balance-pace';
import { DEPARTURE_MS, type Rates, ratesOf, type Step, towards } from './balance-rates';

/** What a worker says of itself. Nothing of it is trusted. */
export interface WorkerFigures {
  /** Index of its sockets. */
  readonly index: number;
  /** Connections that it has accepted; only grows. */
  readonly accepted: number;
  /** Accepted connections that are open now. */
  readonly open: number;
  /** Nanoseconds that its event loop has slept; only grows. */
  readonly idle: number;
}

interface Known {
  readonly figures: WorkerFigures;
  readonly load: Load;
  readonly evenness: Evenness;
}

export interface BalanceState extends Rates {
  readonly workers: ReadonlyMap<number, Known>;
  readonly scatter: number;
  /** Share of the new connections by worker index, in fair shares; one that is not there has 1. */
  readonly factors: readonly number[];
  /** Since they were given. */
  readonly pace: Pace;
  /** Those that the last note was about. */
  readonly told: readonly number[];
}

export interface Balance {
  readonly state: BalanceState;
  /** What has changed and why, if it is worth a line. */
  readonly note: string | undefined;
}

/** Nobody's share is less: whether a worker does better is seen by what it is given. */
export const LEAST_FACTOR = 0.1;
/** Nobody's share is more: a burst must not bury who has few connections. */
export const MOST_FACTOR = 3;

/** Figures that are older say nothing about now, and those of less time nothing at all. */
const STALE_MS = 60_000;
const LEAST_MS = 1;
const NS_PER_MS = 1e6;
/** What is uneven is not corrected by fewer new connections than this part of the open ones: a burst may follow a quiet minute. */
const LEAST_AHEAD = 1 / 16;
/** Nor in less than so many looks: connections that wait to be accepted are in nobody's figures yet. */
const LEAST_LOOKS = 2;
/** Nobody's share is given anew for less than this (as WORTH_DUE in policy.ts) ... */
const WORTH_LEAST = 0.05;
/** ... and whoever is off by this gets it, however few connections that makes. */
const WORTH_MOST = 0.5;
/** A change of this much (in fair shares) since the last note is worth a line. */
const TELL = 0.1;
const MOST_NAMED = 3;

const START: BalanceState = {
  workers: new Map(),
  arrivals: 0,
  peak: 0,
  departures: 0,
  growth: 0,
  scatter: 0,
  factors: [],
  pace: AT_ONCE,
  told: [],
};

/** What 64 bits hold; 2^53 ns are no more than 104 days. */
const countable = (value: number): boolean => value >= 0 && value < 2 ** 64;

/** Those that make sense, once each. */
function sane(figures: readonly WorkerFigures[]): Map<number, WorkerFigures> {
  const good = figures.filter(
    ({ index, accepted, open, idle }) =>
      Number.isInteger(index) &&
      index > 0 &&
      index <= 0xffff &&
      countable(accepted) &&
      countable(open) &&
      countable(idle),
  );
  return new Map(good.map((each) => [each.index, each]));
}

/** What is known of a worker from before; a counter that has gone back is another worker's. */
function before(previous: BalanceState, { index, accepted, idle }: WorkerFigures): Known | undefined {
  const known = previous.workers.get(index);
  return known && accepted >= known.figures.accepted && idle >= known.figures.idle ? known : undefined;
}

function utilisationOf(now: WorkerFigures, known: Known | undefined, elapsedMs: number): number | undefined {
  if (!known) return undefined;
  return Math.min(1, Math.max(0, 1 - (now.idle - known.figures.idle) / (elapsedMs * NS_PER_MS)));
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of those who were there before. */
function stepsOf(previous: BalanceState, figures: ReadonlyMap<number, WorkerFigures>): Step[] {
  return [...figures.values()].flatMap((now) => {
    const known = before(previous, now)?.figures;
    return known ? [{ accepted: now.accepted - known.accepted, more: now.open - known.open }] : [];
  });
}

/** Who gives away for its utilisation is not sent more for having few connections. */
function factorOf({ load, evenness }: Known): number {
  const factor = load.keep < 1 ? load.keep * Math.min(1, evenness.share) : evenness.share;
  return Math.min(MOST_FACTOR, Math.max(LEAST_FACTOR, factor));
}

function steppedLoads(
  previous: BalanceState,
  figures: ReadonlyMap<number, WorkerFigures>,
  elapsedMs: number,
): { loads: Map<number, Load>; busy: number } {
  const loads = new Map<number, Load>();
  for (const [index, now] of figures) {
    const known = before(previous, now);
    loads.set(index, smoothed(known?.load ?? NO_LOAD, utilisationOf(now, known, elapsedMs), elapsedMs));
  }
  const busy = mean([...loads.values()].flatMap(({ utilisation }) => utilisation ?? []));
  for (const [index, load] of loads) loads.set(index, stepLoad(load, busy, elapsedMs, LEAST_FACTOR));
  return { loads, busy };
}

function step(
  previous: BalanceState,
  figures: ReadonlyMap<number, WorkerFigures>,
  elapsedMs: number,
): { workers: Map<number, Known>; traffic: Traffic & Opened & Rates } {
  const { loads, busy } = steppedLoads(previous, figures, elapsedMs);
  // Who gives away for its utilisation has fewer connections than the others, and should: no measure for them.
  const free = [...figures.values()].filter(({ index }) => loads.get(index)?.keep === 1);
  const measure = free.length > 0 ? free : [...figures.values()];
  const meanOpen = mean(measure.map(({ open }) => open));
  const changes = measure.flatMap((now) => {
    const known = before(previous, now);
    return known ? [(meanOpen - now.open - known.evenness.missing) ** 2] : [];
  });
  const opened: Opened & Rates = {
    workers: figures.size,
    meanOpen,
    open: [...figures.values()].reduce((sum, { open }) => sum + open, 0),
    ...ratesOf(previous, stepsOf(previous, figures), elapsedMs),
  };
  const stands = standsMs(opened, previous.pace, elapsedMs) / 1_000;
  const traffic: Traffic & Opened & Rates = {
    ...opened,
    saturated: busy >= SATURATED,
    ahead: Math.max(
      opened.arrivals * stands,
      (opened.peak * elapsedMs * LEAST_LOOKS) / 1_000,
      meanOpen * figures.size * LEAST_AHEAD,
      1,
    ),
    scatter: towards(previous.scatter, mean(changes), elapsedMs, DEPARTURE_MS),
  };
  const workers = new Map<number, Known>();
  for (const [index, now] of figures) {
    const evenness = before(previous, now)?.evenness ?? EVEN;
    workers.set(index, {
      figures: now,
      load: loads.get(index) ?? NO_LOAD,
      evenness: stepOpen(evenness, now.open, traffic, elapsedMs, LEAST_FACTOR, MOST_FACTOR),
    });
  }
  return { workers, traffic };
}

/** Whether somebody is due so much else than the share that it has that it is worth another table, or all are fair again. */
function worth(
  factors: readonly number[],
  next: readonly number[],
  workers: ReadonlyMap<number, Known>,
  traffic: Traffic,
): boolean {
  const open = Math.min(WORTH_MOST, Math.max(WORTH_LEAST, worthOpen(traffic)));
  for (const [index, { load }] of workers)
    if (Math.abs((next[index] ?? 1) - (factors[index] ?? 1)) > (load.keep < 1 ? WORTH_LEAST : open))
      return true;
  return next.every((share) => share === 1) && factors.some((share) => share !== 1);
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((share, index) => share === b[index]);

const percent = (part: number): string => `${Math.round(part * 100)} %`;

function reason(factor: number, { figures, load, evenness }: Known, meanOpen: number, all: number): string {
  const share = `worker ${figures.index} ${factor.toFixed(2)}`;
  if (load.keep < 1) return `${share} (busy ${percent(load.utilisation ?? 0)}, all ${percent(all)})`;
  return evenness.share === 1 ? share : `${share} (${figures.open} open, mean ${Math.round(meanOpen)})`;
}

/** One line, where somebody's share has moved by TELL, or all have come back to the fair one. */
function noteOf(
  told: readonly number[],
  factors: readonly number[],
  workers: ReadonlyMap<number, Known>,
  { meanOpen }: Traffic,
): string | undefined {
  const uneven = [...workers.keys()].filter((index) => (factors[index] ?? 1) !== 1);
  if (uneven.length === 0)
    return told.every((was) => was === 1) ? undefined : 'shares of new connections: all fair again';
  if (uneven.every((index) => Math.abs((factors[index] ?? 1) - (told[index] ?? 1)) <= TELL)) return undefined;
  const all = mean([...workers.values()].flatMap(({ load }) => load.utilisation ?? []));
  const distance = (index: number): number => Math.abs((factors[index] ?? 1) - 1);
  const named = uneven
    .sort((a, b) => distance(b) - distance(a))
    .slice(0, MOST_NAMED)
    .map((index) => reason(factors[index] ?? 1, workers.get(index) as Known, meanOpen, all));
  const more = uneven.length > MOST_NAMED ? `, ${uneven.length - MOST_NAMED} more` : '';
  return `shares of new connections: ${named.join(', ')}${more}`;
}

/**
 * Shares of new connections, from what the live workers say of themselves. Pure; to be asked every 100 ms or so while there
 * is traffic.
 *
 * A worker that is busier than the others gives away of its share (balance-load.ts), and one whose open connections are more
 * or fewer than the mean gets fewer or more new ones (balance-open.ts); all others have exactly 1. What makes no sense counts
 * for nothing, and a worker of which nothing is known yet has 1.
 *
 * @param previous what the last call has returned; undefined: nothing is known
 * @param elapsedMs since the last call
 */
export function balance(
  previous: BalanceState | undefined,
  figures: readonly WorkerFigures[],
  elapsedMs: number,
): Balance {
  if (previous && !(elapsedMs >= LEAST_MS)) return { state: previous, note: undefined };
  const old = previous && elapsedMs <= STALE_MS ? previous : { ...START, told: previous?.told ?? [] };
  const passed = old === previous ? elapsedMs : LEAST_MS;
  const { workers, traffic } = step(old, sane(figures), passed);
  const next: number[] = [];
  for (const [index, known] of workers) {
    while (next.length <= index) next.push(1);
    next[index] = workers.size > 1 ? factorOf(known) : 1;
  }
  const { arrivals, peak, departures, growth, scatter } = traffic;
  const pace = later(old.pace, passed);
  const fresh =
    next.length !== old.factors.length ||
    grown(pace, traffic) ||
    (steady(pace) && worth(old.factors, next, workers, traffic));
  const factors = fresh ? next : old.factors;
  const note = noteOf(old.told, factors, workers, traffic);
  const told = note === undefined ? old.told : factors;
  const means = { arrivals, peak, departures, growth, scatter };
  return {
    state: {
      workers,
      ...means,
      factors,
      pace: fresh ? given(pace, traffic, same(factors, old.factors) ? 0 : 1) : pace,
      told,
    },
    note,
  };
}
