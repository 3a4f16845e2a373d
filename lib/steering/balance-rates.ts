// SPDX-License-Identifier: Apache-2.0
// Connections a second, from how many have come and are open from one time to the next.

const RATE_MS = 500;
/** A thousand that end at once are no sign of short lives. */
export const DEPARTURE_MS = 2_000;

/** Means, a second, of all workers. */
export interface Rates {
  readonly arrivals: number;
  /** The same, but up at once: a burst must not find it too small. */
  readonly peak: number;
  readonly departures: number;
  /** Of the open connections. */
  readonly growth: number;
}

/** Of one worker. */
export interface Step {
  readonly accepted: number;
  /** How many more are open than before. */
  readonly more: number;
}

export const towards = (old: number, value: number, elapsedMs: number, timeMs: number): number =>
  old + (value - old) * (1 - Math.exp(-elapsedMs / timeMs));

/** @param steps of those who were there before */
export function ratesOf(previous: Rates, steps: readonly Step[], elapsedMs: number): Rates {
  const second = 1_000 / elapsedMs;
  let [came, departures, growth] = [0, 0, 0];
  for (const { accepted, more } of steps) {
    came += accepted;
    departures += Math.max(0, accepted - more) * second;
    growth += more * second;
  }
  const arrivals = came * second;
  // Nothing known before: the first interval is better than none.
  if (previous.arrivals === 0) return { arrivals, peak: arrivals, departures, growth };
  return {
    arrivals: towards(previous.arrivals, arrivals, elapsedMs, RATE_MS),
    peak: Math.max(arrivals, towards(previous.peak, arrivals, elapsedMs, RATE_MS)),
    departures: towards(previous.departures, departures, elapsedMs, DEPARTURE_MS),
    growth: towards(previous.growth, growth, elapsedMs, RATE_MS),
  };
}
