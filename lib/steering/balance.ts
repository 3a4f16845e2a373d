// SPDX-License-Identifier: Apache-2.0
// Figures of the workers -> each one's share of the new connections. For what lasts: a worker that is blocked for a moment
// is helped by its siblings within milliseconds, and this has no part in that.

import { type Load, NO_LOAD, SATURATED, smoothed, stepLoad } from './balance-load';
import { EVEN, type Evenness, stepOpen, type Traffic } from './balance-open';

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

export interface BalanceState {
  readonly workers: ReadonlyMap<number, Known>;
  /** Means, a second. */
  readonly arrivals: number;
  readonly departures: number;
  readonly scatter: number;
  /** Share of the new connections by worker index, in fair shares; one that is not there has 1. */
  readonly factors: readonly number[];
  /** Since they were last looked at, and how many connections have come since. */
  readonly factorsMs: number;
  readonly came: number;
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

const RATE_MS = 500;
/** A thousand that end at once are no sign of short lives. */
const DEPARTURE_MS = 2_000;
/** Figures that are older say nothing about now, and those of less time nothing at all. */
const STALE_MS = 60_000;
const LEAST_MS = 1;
const NS_PER_MS = 1e6;
/** New shares once a second are enough ... */
const PUBLISH_MS = 1_000;
/** ... unless so many connections, over the open ones, have come meanwhile that the picture is another one. */
const PUBLISH_PART = 1 / 50;
/** A change of this much (in fair shares) since the last note is worth a line. */
const TELL = 0.1;
const MOST_NAMED = 3;

const START: BalanceState = {
  workers: new Map(),
  arrivals: 0,
  departures: 0,
  scatter: 0,
  factors: [],
  factorsMs: Infinity,
  came: 0,
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

const towards = (old: number, value: number, elapsedMs: number, timeMs: number): number =>
  old + (value - old) * (1 - Math.exp(-elapsedMs / timeMs));

interface Rates {
  readonly arrivals: number;
  readonly departures: number;
}

/** A second, over those who were there before. */
function ratesOf(
  previous: BalanceState,
  figures: ReadonlyMap<number, WorkerFigures>,
  elapsedMs: number,
): Rates {
  let came = 0;
  let went = 0;
  for (const now of figures.values()) {
    const known = before(previous, now);
    if (!known) continue;
    const accepted = now.accepted - known.figures.accepted;
    came += accepted;
    went += Math.max(0, accepted - (now.open - known.figures.open));
  }
  const second = 1_000 / elapsedMs;
  const [arrivals, departures] = [came * second, went * second];
  // Nothing known before: the first interval is better than none.
  if (previous.arrivals === 0) return { arrivals, departures };
  return {
    // up at once: what is due to a worker is divided by what is to come, and a burst must not find that too small
    arrivals: Math.max(arrivals, towards(previous.arrivals, arrivals, elapsedMs, RATE_MS)),
    departures: towards(previous.departures, departures, elapsedMs, DEPARTURE_MS),
  };
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
): { workers: Map<number, Known>; traffic: Traffic } {
  const { loads, busy } = steppedLoads(previous, figures, elapsedMs);
  // Who gives away for its utilisation has fewer connections than the others, and should: no measure for them.
  const free = [...figures.values()].filter(({ index }) => loads.get(index)?.keep === 1);
  const measure = free.length > 0 ? free : [...figures.values()];
  const meanOpen = mean(measure.map(({ open }) => open));
  const changes = measure.flatMap((now) => {
    const known = before(previous, now);
    return known ? [(meanOpen - now.open - known.evenness.missing) ** 2] : [];
  });
  const traffic: Traffic = {
    workers: figures.size,
    meanOpen,
    saturated: busy >= SATURATED,
    ...ratesOf(previous, figures, elapsedMs),
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
  const { arrivals, departures, scatter, meanOpen } = traffic;
  const ms = old.factorsMs + passed;
  const came = old.came + (arrivals * passed) / 1_000;
  const sameWorkers = next.length === old.factors.length;
  const kept = sameWorkers && ms < PUBLISH_MS && came < meanOpen * workers.size * PUBLISH_PART;
  const factors = kept ? old.factors : next;
  const since = kept ? { factorsMs: ms, came } : { factorsMs: 0, came: 0 };
  const note = noteOf(old.told, factors, workers, traffic);
  const told = note === undefined ? old.told : factors;
  return { state: { workers, arrivals, departures, scatter, factors, ...since, told }, note };
}
