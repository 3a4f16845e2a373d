// SPDX-License-Identifier: Apache-2.0
// Open connections -> shares that make them even.
//
// How many are open is no estimate: where connections last, what chance has made uneven stays uneven, and has to be
// corrected although it is no more than chance (8 workers, 2,000 connections: 250 +- 15, the outermost 12 % off). Where they
// do not last, it heals by itself, and correcting it is a dance. Lifetimes tell the two apart, by Little's law:
// open = arrivals a second x mean lifetime.

/** Off by this part of the mean, and by so many connections: worth new shares, which correct what is off by FINE. */
const BAND = 0.025;
const FEWEST = 3;
/** Half of this: corrected. */
const FINE = 0.01;
/** The same where connections do not last: to move many for a few that do is worth less. */
const COARSE_BAND = 0.1;
/** Connections that live as long as this on the average last. */
const LASTING_S = 10;
/** Where they do not, only what has been uneven in one direction for so long is corrected ... */
const PERSIST_MS = 3_000;
/** ... and by more than so many standard deviations of its change from one time to the next. */
const SIGMAS = 3;
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
  /** New connections within which what is uneven is to be corrected, of all workers. */
  readonly ahead: number;
}

/** 0: connections come and go; 1: they last. */
function lasting({ workers, meanOpen, departures }: Traffic): number {
  const open = meanOpen * workers;
  return open < departures * LASTING_S ? open / (departures * LASTING_S) : 1;
}

/** What is worth correcting, in connections, where that takes this part of the mean when connections last. */
function bandOf(traffic: Traffic, part: number): number {
  return Math.max(FEWEST, (part + (COARSE_BAND - part) * (1 - lasting(traffic))) * traffic.meanOpen);
}

/** Shares that differ by so much leave somebody off by what is worth correcting. */
export function worthOpen(traffic: Traffic): number {
  return (bandOf(traffic, BAND) * traffic.workers) / traffic.ahead;
}

const clip = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));

/**
 * The share that brings a worker to the mean within the next n = `ahead` connections, in fair shares: of those
 * it is due n / workers and what it is short of,
 *
 *     share = 1 + missing x workers / n.
 *
 * Among many short connections n is large, and this is 1. It differs from 1 only as far as connections last: a worker that
 * fails fast has few open ones, too, and must not attract more; and where lasting ones are few among many, evenness of
 * these is not worth that of the others.
 */
function dueShare(missing: number, traffic: Traffic, least: number, most: number): number {
  const part = lasting(traffic);
  const share = clip(
    1 + (missing * traffic.workers) / traffic.ahead,
    1 - (1 - least) * part,
    1 + (most - 1) * part,
  );
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
  const band = bandOf(traffic, FINE);
  const holdMs = PERSIST_MS * passing;
  const worth = holdMs > 0 ? Math.max(band, SIGMAS * Math.sqrt(scatter)) : band;
  const sameSide = missing * evenness.missing > 0;
  let offMs = 0;
  if (Math.abs(missing) > worth)
    offMs = Math.sign(missing) * ((sameSide ? Math.abs(evenness.offMs) : 0) + elapsedMs);
  const goesOn = evenness.correcting && sameSide && Math.abs(missing) > band / 2;
  const correcting = goesOn || (offMs !== 0 && Math.abs(offMs) >= holdMs);
  const share = correcting ? dueShare(missing, traffic, least, most) : 1;
  return { missing, offMs, correcting, share };
}
