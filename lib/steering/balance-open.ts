// SPDX-License-Identifier: Apache-2.0
// Open connections -> shares that make them even.
//
// How many are open is no estimate: where connections last, what chance has made uneven stays uneven, and has to be
// corrected although it is no more than chance (8 workers, 2,000 connections: 250 +- 15, the outermost 12 % off). Where they
// do not last, it heals by itself, and correcting it is a dance. Lifetimes tell the two apart, by Little's law:
// open = arrivals a second x mean lifetime.

/** What is uneven is corrected within this time ... */
const HORIZON_S = 0.3;
/** ... but never by fewer new connections than this part of the open ones: a burst may follow a quiet minute. */
const LEAST_ARRIVALS = 1 / 16;
/** Off by this part of the mean, and by so many connections: worth correcting; half of it: corrected. */
const BAND = 0.025;
const FEWEST = 3;
/** The same where connections do not last: to move many for a few that do is worth less. */
const COARSE_BAND = 0.1;
/** Connections that live as long as this on the average last. */
const LASTING_S = 10;
/** Where they do not, only what has been uneven in one direction for so long is corrected ... */
const PERSIST_MS = 3_000;
/** ... and by more than so many standard deviations of its change from one time to the next. */
const SIGMAS = 3;
/** Most that a share changes in one step. */
const MOST_STEP = 1.5;
/** A share closer to the fair one is the fair one. */
const NEGLIGIBLE = 0.02;

export interface Evenness {
  /** Mean open connections less its own. */
  readonly missing: number;
  /** For how long it has had too few (above 0) or too many (below 0). */
  readonly offMs: number;
  readonly correcting: boolean;
  /** Its share of new connections, in fair shares. */
  readonly share: number;
}

export const EVEN: Evenness = { missing: 0, offMs: 0, correcting: false, share: 1 };

/** Of all workers together. */
export interface Traffic {
  readonly workers: number;
  /** Mean of a worker. */
  readonly meanOpen: number;
  /** New connections a second, of all workers. */
  readonly arrivals: number;
  /** Ended connections a second, of all workers. */
  readonly departures: number;
  /** All workers are as busy as they can be. */
  readonly saturated: boolean;
  /** Mean square of the change of `missing` from one time to the next. */
  readonly scatter: number;
}

/** 0: connections come and go; 1: they last. */
function lasting({ workers, meanOpen, departures }: Traffic): number {
  const open = meanOpen * workers;
  return open < departures * LASTING_S ? open / (departures * LASTING_S) : 1;
}

const clip = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));

/**
 * The share that brings a worker to the mean within HORIZON_S, in fair shares: of the next n = arrivals x HORIZON_S
 * connections it is due n / workers and what it is short of,
 *
 *     share = 1 + missing x workers / n.
 *
 * Among many short connections n is large, and this is 1. It differs from 1 only as far as connections last: a worker that
 * fails fast has few open ones, too, and must not attract more; and where lasting ones are few among many, evenness of
 * these is not worth that of the others.
 */
function dueShare(missing: number, traffic: Traffic, least: number, most: number): number {
  const { workers, meanOpen, arrivals } = traffic;
  const n = Math.max(arrivals * HORIZON_S, meanOpen * workers * LEAST_ARRIVALS, 1);
  const part = lasting(traffic);
  const share = clip(1 + (missing * workers) / n, 1 - (1 - least) * part, 1 + (most - 1) * part);
  return Math.abs(share - 1) < NEGLIGIBLE ? 1 : share;
}

/** One step towards even numbers of open connections. */
export function stepOpen(
  evenness: Evenness,
  open: number,
  traffic: Traffic,
  elapsedMs: number,
  least: number,
  most: number,
): Evenness {
  const { meanOpen, scatter, arrivals, saturated } = traffic;
  const missing = meanOpen - open;
  const passing = 1 - lasting(traffic);
  // Where nobody keeps up, open connections that do not last are queues, and those are for the thieves.
  if (arrivals === 0 || (saturated && passing > 0)) return { ...EVEN, missing };
  const band = Math.max(FEWEST, (BAND + (COARSE_BAND - BAND) * passing) * meanOpen);
  const holdMs = PERSIST_MS * passing;
  const worth = holdMs > 0 ? Math.max(band, SIGMAS * Math.sqrt(scatter)) : band;
  const sameSide = missing * evenness.missing > 0;
  let offMs = 0;
  if (Math.abs(missing) > worth)
    offMs = Math.sign(missing) * ((sameSide ? Math.abs(evenness.offMs) : 0) + elapsedMs);
  const goesOn = evenness.correcting && sameSide && Math.abs(missing) > band / 2;
  const correcting = goesOn || (offMs !== 0 && Math.abs(offMs) >= holdMs);
  const due = correcting ? dueShare(missing, traffic, least, most) : 1;
  const share = clip(due, evenness.share / MOST_STEP, evenness.share * MOST_STEP);
  return { missing, offMs, correcting, share };
}
