// SPDX-License-Identifier: Apache-2.0
// Chance with a seed: the same run again for the same seed.

/** 32 random bits a call (Mulberry32). */
export function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** From 0 to below 1. */
export const fraction = (random: () => number): number => random() / 2 ** 32;

/** Above this mean the normal distribution does. */
const MANY = 60;

/** How many events of so many on the average: Knuth's product of fractions, for large means the normal approximation. */
export function poisson(random: () => number, mean: number): number {
  if (!(mean > 0)) return 0;
  if (mean > MANY) {
    const radius = Math.sqrt(-2 * Math.log(1 - fraction(random)));
    const normal = radius * Math.cos(2 * Math.PI * fraction(random));
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal));
  }
  const end = Math.exp(-mean);
  let count = 0;
  for (let product = fraction(random); product > end; product *= fraction(random)) count++;
  return count;
}
