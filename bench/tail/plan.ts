// SPDX-License-Identifier: Apache-2.0
// What is sent, and when. Pure; the times themselves are tail-client.c's.

export const SHAPES = ['short', 'keep-alive', 'upstream', 'handlers'] as const;
export type Shape = (typeof SHAPES)[number];

const LASTING: Readonly<Record<Shape, number>> = { short: 1, 'keep-alive': 64, upstream: 8, handlers: 1 };

/** Connections that last, unless the options say how many. */
export const lasting = (shape: Shape): number => LASTING[shape];

/** How many workers' time the slow requests take, whatever each takes: with 200 ms two a second. */
export const SLOW_LOAD = 0.4;

export interface Plan {
  shape: Shape;
  rate: number;
  seconds: number;
  clients: number;
  /** Slow requests a second. */
  slowRate: number;
  /** What a slow request takes, or every one (handlers). */
  blockMs: number;
}

interface Wanted extends Pick<Plan, 'shape' | 'rate' | 'seconds' | 'clients'> {
  /** Part of what the workers can do (handlers). */
  load: number;
}

/**
 * With `handlers` as many requests as make that load on so many workers, and none that are slow.
 * @throws Error where the time is too short for one slow request, or for any
 */
export function planOf(
  { shape, rate, seconds, clients, load }: Wanted,
  blockMs: number,
  workers: number,
): Plan {
  if (shape === 'handlers') {
    const plan = { shape, rate: (load * workers * 1_000) / blockMs, seconds, clients, slowRate: 0, blockMs };
    if (fastsOf(plan) >= 1) return plan;
    throw new Error(`--seconds ${seconds}: too short for a request that computes for ${blockMs} ms`);
  }
  const plan = { shape, rate, seconds, clients, slowRate: (SLOW_LOAD * 1_000) / blockMs, blockMs };
  if (slowsOf(plan) >= 1) return plan;
  throw new Error(`--seconds ${seconds}: too short for a request that blocks for ${blockMs} ms`);
}

/** As the client counts them: a product may be a little less than it should. */
const whole = (value: number): number => Math.floor(value + 1e-6);

export const fastsOf = ({ rate, seconds }: Plan): number => whole(rate * seconds);
export const slowsOf = ({ slowRate, seconds }: Plan): number => whole(slowRate * seconds);

/** The same requests without the slow ones. */
export const calm = (plan: Plan, seconds: number): Plan => ({ ...plan, seconds, slowRate: 0 });

/** Arguments of tail-client. */
export function wordsFor(program: string, port: number, plan: Plan): string[] {
  const { shape, rate, seconds, clients, slowRate, blockMs } = plan;
  const kind = shape === 'short' || shape === 'handlers' ? shape : 'kept';
  return [program, String(port), kind, ...[rate, seconds, clients, slowRate, blockMs].map(String)];
}

/** One line for the reader. */
export function loadText({ shape, rate, clients, slowRate, blockMs }: Plan): string {
  if (shape === 'handlers')
    return `${Number(rate.toFixed(2))} requests/s, a connection for each, whose handlers compute for ${blockMs} ms: ${Number(((rate * blockMs) / 1_000).toFixed(2))} workers' time`;
  const how = shape === 'short' ? 'a connection for each' : `on ${clients} connections that last (${shape})`;
  const slow = Number(slowRate.toFixed(2));
  return `${rate} requests/s, ${how}; ${slow} others/s block their worker for ${blockMs} ms`;
}
