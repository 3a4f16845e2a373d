// SPDX-License-Identifier: Apache-2.0
// Who is alive, where connections arrive, who is due what -> steering tables. What is worth a change: policy.ts.

import { forecast } from './forecast';
import type { SteeringSocket, SteeringTable } from './program';

/** A worker may get this much above its fair share and still keep all that arrives on its CPU. */
const SLACK = 0.25;
/** Counts scatter: only what lies above the limit by so many standard deviations is above it. */
export const SIGMAS = 2;

/** A worker that can be steered to. */
export interface Live {
  readonly index: number;
  /** The CPU that it owns; of two workers on one CPU the first does. */
  readonly cpu: number | undefined;
  /** What it is due of all connections, in fair shares; the mean over the workers is 1. */
  readonly due: number;
}

/** Nobody is due more or less than the others. */
export function allDueTheSame(live: readonly Live[]): boolean {
  return live.every(({ due }) => due === 1);
}

/** By chance, each as much as it is due. */
export function chanceTable(live: readonly Live[]): SteeringTable {
  const sockets = live.map(({ index, due }) => ({ index, weight: due }));
  return { sockets, own: new Map(), loopbackEven: false };
}

/** Every pinned worker keeps all of its CPU; CPUs without one go evenly to all. */
export function ownTable(live: readonly Live[]): SteeringTable {
  const own = new Map<number, { index: number; keep: number }>();
  for (const { index, cpu } of live) if (cpu !== undefined) own.set(cpu, { index, keep: 1 });
  return { sockets: live.map(({ index }) => ({ index, weight: 1 })), own, loopbackEven: false };
}

/**
 * The table for these shares of the arrivals.
 *
 * With N live workers the fair share is t = 1/N. A worker whose CPU receives the share a keeps
 *
 *     keep = 1      if a <= t (1 + SLACK)     (counted: n <= m + SIGMAS sqrt(m), m = samples t (1 + SLACK))
 *     keep = t / a  above that
 *
 * What is not kept, and what arrives on CPUs without a live worker, is the pool. The pool's weights are
 * what the workers are short of, s = max(0, t - a keep): those whose CPU receives nothing live from it.
 * Two queues and eight workers: each of the two keeps a quarter, the others get the rest, all have 1/8.
 * All on one CPU comes out even the same way.
 *
 * Where not all are due the same, a worker that is due d < 1 fair shares keeps d keep and has the weight d s, one that is due
 * more has s + t (d - 1). There s counts only above SIGMAS standard deviations of the counted share, sqrt(t / samples): with
 * 128 CPUs and 60 samples of each, what a few give away would go by chance to all those of which few samples were taken.
 * Over loopback each gets d.
 */
export function balancedTable(
  live: readonly Live[],
  shares: readonly number[],
  samples: number,
): SteeringTable {
  const fair = 1 / live.length;
  const limit = samples * fair * (1 + SLACK);
  const most = (limit + SIGMAS * Math.sqrt(limit)) / samples;
  const even = allDueTheSame(live);
  const scatter = even ? 0 : SIGMAS * Math.sqrt(fair / samples);
  const own = new Map<number, { index: number; keep: number }>();
  const sockets = live.map(({ index, cpu, due }): SteeringSocket => {
    const arriving = cpu === undefined ? 0 : (shares[cpu] ?? 0);
    const keep = arriving <= most ? 1 : fair / arriving;
    const less = Math.min(1, due);
    if (cpu !== undefined) own.set(cpu, { index, keep: keep * less });
    const short = Math.max(0, fair - arriving * keep);
    if (even) return { index, weight: short };
    const weight = (short > scatter ? short * less : 0) + fair * Math.max(0, due - 1);
    return { index, weight, loopback: due };
  });
  return { sockets, own, loopbackEven: true };
}

export function owners(live: readonly Live[]): Map<number, number> {
  return new Map(live.flatMap(({ index, cpu }) => (cpu === undefined ? [] : [[cpu, index] as const])));
}

/** CPUs that give some of their arrivals away. */
export function sharing(table: SteeringTable): number {
  return [...table.own.values()].filter(({ keep }) => keep < 1).length;
}

/** Whether the table has just these workers, on just these CPUs. A table for others is never kept. */
export function sameMembers(table: SteeringTable, live: readonly Live[], byCpu: boolean): boolean {
  const own = byCpu ? owners(live) : new Map<number, number>();
  return (
    table.sockets.length === live.length &&
    live.every(({ index }, i) => index === table.sockets[i]?.index) &&
    table.own.size === own.size &&
    [...own].every(([cpu, index]) => table.own.get(cpu)?.index === index)
  );
}

/** `forecast` for these workers, against what they are due. */
export function forecastFor(table: SteeringTable, shares: readonly number[], live: readonly Live[]) {
  const due = new Map(live.map(({ index, due }) => [index, due / live.length]));
  return forecast(table, shares, owners(live), due);
}
