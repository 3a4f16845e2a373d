// SPDX-License-Identifier: Apache-2.0
// Variants measured in turn: whatever drifts, drifts for all.
import { freePort } from './free-port';
import type { Place } from './place';
import { Progress } from './progress';
import type { Server } from './server';
import type { Variant } from './variants';

export interface Measured<M> {
  name: string;
  /** One for each round. */
  measures: M[];
}

export interface Comparison<M> {
  variants: Measured<M>[];
  /** What was not as it should be, each once. */
  remarks: string[];
}

/** The order turns with the rounds: nobody always comes first. */
export function inOrder<T>(items: readonly T[], round: number): T[] {
  const first = round % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

/** A fresh server for each measure. */
export async function withServer<T>(
  place: Place,
  variant: Variant,
  use: (server: Server) => Promise<T>,
): Promise<T> {
  const server = await variant.start(place, await freePort());
  try {
    return await use(server);
  } finally {
    await server.stop();
  }
}

/** What one look at a variant gives. */
export interface Taken<M> {
  measure: M;
  /** What was not as it should be. */
  remark: string | undefined;
}

/** Measures each variant once a round. */
export async function inTurn<V extends { name: string }, M>(
  title: string,
  variants: readonly V[],
  rounds: number,
  take: (variant: V) => Promise<Taken<M>>,
): Promise<Comparison<M>> {
  const progress = new Progress(process.stderr);
  const found = new Map<V, M[]>(variants.map((variant) => [variant, []]));
  const remarks = new Set<string>();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const variant of inOrder(variants, round)) {
        progress.now(`${title}: round ${round + 1} of ${rounds}, ${variant.name}`);
        const { measure, remark } = await take(variant);
        if (remark !== undefined) remarks.add(`${variant.name}: ${remark}`);
        found.get(variant)?.push(measure);
      }
    }
  } finally {
    progress.clear();
  }
  return {
    variants: [...found].map(([{ name }, measures]) => ({ name, measures })),
    remarks: [...remarks],
  };
}

export function compare<M>(
  place: Place,
  title: string,
  variants: readonly Variant[],
  rounds: number,
  take: (server: Server) => Promise<M>,
): Promise<Comparison<M>> {
  return inTurn(title, variants, rounds, (variant) =>
    withServer(place, variant, async (server) => ({
      measure: await take(server),
      remark: variant.remark(server),
    })),
  );
}
