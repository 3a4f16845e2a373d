// SPDX-License-Identifier: Apache-2.0

import type { SteeringTable } from './program';

export interface Forecast {
  /** Share of all connections that each socket would get, by index. */
  readonly share: ReadonlyMap<number, number>;
  /** Share of all connections that the worker on the CPU that they arrive on would get, by chance or not. */
  readonly local: number;
  /** Largest distance of a socket's share from its due, in fair shares: 0 all have it, 1 one has a fair share too much or too little. */
  readonly unfairness: number;
}

/**
 * What a table does with arrivals that spread over the CPUs like this.
 *
 * @param shares share of the arrivals by CPU, sum 1, loopback left out.
 * @param owners CPU -> socket of the worker that is pinned there.
 * @param due share of all connections that a socket should get; default: all the same.
 */
export function forecast(
  table: SteeringTable,
  shares: readonly number[],
  owners: ReadonlyMap<number, number>,
  due?: ReadonlyMap<number, number>,
): Forecast {
  const total = table.sockets.reduce((sum, { weight }) => sum + weight, 0);
  const part = new Map<number, number>();
  for (const { index, weight } of table.sockets)
    part.set(index, total > 0 ? weight / total : 1 / table.sockets.length);

  const share = new Map([...part.keys()].map((index) => [index, 0]));
  let pooled = 0;
  let local = 0;
  shares.forEach((arriving, cpu) => {
    const own = table.own.get(cpu);
    const owner = owners.get(cpu);
    const kept = own ? arriving * own.keep : 0;
    if (own) share.set(own.index, (share.get(own.index) ?? 0) + kept);
    if (own && own.index === owner) local += kept;
    if (owner !== undefined) local += (arriving - kept) * (part.get(owner) ?? 0);
    pooled += arriving - kept;
  });
  for (const [index, pull] of part) share.set(index, (share.get(index) ?? 0) + pooled * pull);

  const fair = 1 / table.sockets.length;
  const unfairness = Math.max(
    ...[...share].map(([index, s]) => Math.abs(s - (due?.get(index) ?? fair)) / fair),
  );
  return { share, local, unfairness };
}

/** Whether two tables make the same program. */
export function sameTable(a: SteeringTable, b: SteeringTable): boolean {
  if (a.loopbackEven !== b.loopbackEven || a.own.size !== b.own.size || a.sockets.length !== b.sockets.length)
    return false;
  for (const [cpu, { index, keep }] of a.own) {
    const other = b.own.get(cpu);
    if (other?.index !== index || other.keep !== keep) return false;
  }
  return a.sockets.every(({ index, weight, loopback = 1 }, i) => {
    const other = b.sockets[i];
    return other?.index === index && other.weight === weight && (other.loopback ?? 1) === loopback;
  });
}
