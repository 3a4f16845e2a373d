// SPDX-License-Identifier: Apache-2.0
// Utilisation -> what a worker that is busier than the others keeps of its fair share.

/** Time constant of the mean utilisation. */
const SMOOTH_MS = 500;
/** Above the mean by this much for PERSIST_MS: it gives away. One long request is over before that. */
const BUSY = 0.1;
const PERSIST_MS = 1_000;
/** What giving away aims at, and below which it ends. Between this and BUSY everything stays: the hysteresis. */
const AIM = 0.05;
/** No more than this above the mean: it gets back. */
const CALM = 0.02;
/**
 * Part of the share given away in 100 ms for each part of utilisation above AIM. The share s acts on the mean utilisation
 * with the lag T = SMOOTH_MS: s' = -k u (s - s0), u' = (s - u) / T, damping 1 / (2 sqrt(k u T)). With k = 1 a second and
 * u = 1 that is 0.71: an overshoot of 4 % of the way, less than what lies between CALM and BUSY.
 */
const GAIN = 0.1;
/** Most that the share changes in 100 ms, and least when it comes back: a tenth in a second. */
const MOST_STEP = 0.05;
const LEAST_BACK = 0.01;
const STEP_MS = 100;
/** A long pause is not many steps at once. */
const MOST_STEPS = 2;
/** As busy as that on the average, nobody can take anything from anybody: nothing changes, in neither direction. */
export const SATURATED = 0.9;

export interface Load {
  /** Mean utilisation, 0 to 1; undefined as long as nothing is known. */
  readonly utilisation: number | undefined;
  /** For how long it has been busier than the others. */
  readonly busyMs: number;
  /** What it keeps of its fair share: 1, less if it is busier than the others. */
  readonly keep: number;
}

export const NO_LOAD: Load = { utilisation: undefined, busyMs: 0, keep: 1 };

/** @param now utilisation in the last interval; undefined: unknown */
export function smoothed(load: Load, now: number | undefined, elapsedMs: number): Load {
  if (now === undefined) return load;
  const { utilisation } = load;
  if (utilisation === undefined) return { ...load, utilisation: now };
  const part = 1 - Math.exp(-elapsedMs / SMOOTH_MS);
  return { ...load, utilisation: utilisation + part * (now - utilisation) };
}

/**
 * One step of what a worker keeps: down in proportion to how far it is above the mean, up when it is not any more,
 * nothing in between.
 *
 * @param mean utilisation of all
 * @param least never less than this
 */
export function stepLoad(load: Load, mean: number, elapsedMs: number, least: number): Load {
  const { utilisation, keep } = load;
  if (utilisation === undefined || mean >= SATURATED) return { ...load, busyMs: 0 };
  const excess = utilisation - mean;
  const steps = Math.min(MOST_STEPS, elapsedMs / STEP_MS);
  if (excess > BUSY) {
    const busyMs = load.busyMs + elapsedMs;
    if (keep === 1 && busyMs < PERSIST_MS) return { ...load, busyMs };
    const step = Math.min(MOST_STEP, GAIN * (excess - AIM));
    return { ...load, busyMs, keep: Math.max(least, keep * (1 - step * steps)) };
  }
  if (keep === 1 || excess > CALM) return { ...load, busyMs: 0 };
  const step = Math.min(MOST_STEP, LEAST_BACK + GAIN * (CALM - excess));
  const back = keep * (1 + step * steps);
  return { ...load, busyMs: 0, keep: back > 1 - LEAST_BACK ? 1 : back };
}
