// SPDX-License-Identifier: Apache-2.0
// What is sent, and when. Pure; the times themselves are tail-client.c's.

export const SHAPES = ['short', 'keep-alive', 'upstream'] as const;
export type Shape = (typeof SHAPES)[number];

const LASTING: Readonly<Record<Shape, number>> = { short: 1, 'keep-alive': 64, upstream: 8 };

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
  blockMs: number;
}

/** @throws Error where the time is too short for one slow request */
export function planOf(
  { shape, rate, seconds, clients }: Pick<Plan, 'shape' | 'rate' | 'seconds' | 'clients'>,
  blockMs: number,
): Plan {
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
  const kind = shape === 'short' ? 'short' : 'kept';
  return [program, String(port), kind, ...[rate, seconds, clients, slowRate, blockMs].map(String)];
}

/** One line for the reader. */
export function loadText({ shape, rate, clients, slowRate, blockMs }: Plan): string {
  const how = shape === 'short' ? 'a connection for each' : `on ${clients} connections that last (${shape})`;
  const slow = Number(slowRate.toFixed(2));
  return `${rate} requests/s, ${how}; ${slow} others/s block their worker for ${blockMs} ms`;
}
