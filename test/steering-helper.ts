// SPDX-License-Identifier: Apache-2.0
import type { Instruction, Program } from '../lib/steering/bpf';
import { type Guarded, NOBODY } from '../lib/steering/guarded';
import type { SteeringTable } from '../lib/steering/program';

export { dice } from '../bench/simulation/random';

/** A whole number from 0 to n - 1. */
export const pick = (random: () => number, n: number): number => random() % n;
/** A fraction from 0 to below 1. */
export const fraction = (random: () => number): number => random() / 2 ** 32;

/** Probability of each socket for a connection on this CPU and interface, straight from the table's meaning. */
export function expected(table: SteeringTable, cpu: number, ifindex: number): Map<number, number> {
  const total = table.sockets.reduce((sum, { weight }) => sum + weight, 0);
  const n = table.sockets.length;
  if (table.loopbackEven && ifindex === 1 && table.own.size > 0) {
    const all = table.sockets.reduce((sum, { loopback = 1 }) => sum + loopback, 0);
    return new Map(table.sockets.map(({ index, loopback = 1 }) => [index, all > 0 ? loopback / all : 1 / n]));
  }
  const result = new Map(
    table.sockets.map(({ index, weight }) => [index, total > 0 ? weight / total : 1 / n]),
  );
  const own = table.own.get(cpu);
  if (!own || !result.has(own.index)) return result;
  for (const [index, p] of result)
    result.set(index, p * (1 - own.keep) + (index === own.index ? own.keep : 0));
  return result;
}

/**
 * Pearson's chi-square as a standard normal deviate (Wilson and Hilferty's cube root, good from one
 * degree of freedom on). Cells expected fewer than 5 times are put together. A socket that must not be
 * chosen and was: Infinity.
 */
export function surprise(
  observed: ReadonlyMap<number, number>,
  probabilities: ReadonlyMap<number, number>,
  n: number,
): number {
  let chi2 = 0;
  let cells = 0;
  let restSeen = 0;
  let restDue = 0;
  for (const [index, seen] of observed)
    if (seen > 0 && !((probabilities.get(index) ?? 0) > 0)) return Infinity;
  const add = (seen: number, due: number) => {
    chi2 += (seen - due) ** 2 / due;
    cells++;
  };
  for (const [index, p] of probabilities) {
    const seen = observed.get(index) ?? 0;
    if (p * n >= 5) add(seen, p * n);
    else {
      restSeen += seen;
      restDue += p * n;
    }
  }
  if (restDue >= 1) add(restSeen, restDue);
  const df = cells - 1;
  if (df === 0) return observed.size <= 1 || restDue > 0 ? 0 : Infinity;
  const spread = 2 / (9 * df);
  return (Math.cbrt(chi2 / df) - (1 - spread)) / Math.sqrt(spread);
}

export interface Shape {
  readonly cpus: number;
  readonly sockets: number;
  /** Share of the sockets that live. */
  readonly live?: number;
}

/** A table with everything in it: own sockets kept wholly, partly, not at all, dead ones, CPUs without one, weights of 0. */
export function randomTable(random: () => number, { cpus, sockets, live = 1 }: Shape): SteeringTable {
  const alive = Array.from({ length: sockets }, (_, i) => i + 1).filter(() => fraction(random) < live);
  if (alive.length === 0) alive.push(1 + pick(random, sockets));
  const weights = [() => 1, () => 1 + pick(random, 100), () => Math.max(0, pick(random, 100) - 50), () => 0];
  const weight = weights[pick(random, weights.length)] as () => number;
  const own = new Map<number, { index: number; keep: number }>();
  for (let cpu = 0; cpu < cpus; cpu++) {
    const kind = pick(random, 8);
    if (kind === 0) continue;
    const keep = kind < 3 ? 1 : kind === 3 ? 0 : fraction(random);
    own.set(cpu, { index: kind === 4 ? 1 + pick(random, sockets) : 1 + (cpu % sockets), keep });
  }
  return {
    sockets: alive.map((index) => ({ index, weight: weight() })),
    own,
    loopbackEven: pick(random, 2) === 0,
  };
}

/** The hardest table for the program's size: every CPU draws, a weighted pool, no two live indexes side by side. */
export function worstTable(n: number): SteeringTable {
  const sockets = Array.from({ length: n }, (_, i) => ({ index: 2 * i + 1, weight: 1 + (i % 7) }));
  const own = new Map(sockets.map(({ index }, cpu) => [cpu, { index, keep: 0.4 + (cpu % 5) / 10 }]));
  return { sockets, own, loopbackEven: true };
}

/**
 * Bytes of the program as the kernel holds it, which is what net.core.optmem_max bounds: by
 * bpf_convert_filter (net/core/filter.c) a load of CPU or random bits becomes 4 instructions, of the
 * interface 3, from the packet 8, a return of a constant 2, a comparison with a constant from 2^31 on one more; 3 stand
 * before all (7 where the packet is looked at), 8 bytes each, after a struct bpf_prog of about 96 bytes.
 */
export function kernelBytes(program: Program): number {
  const packet = program.filter(({ code, k }) => code === 0x20 && k < 0xfffff000).length;
  let instructions = packet > 0 ? 7 + 4 * packet : 3;
  for (const { code, jt, jf, k } of program) {
    if (code === 0x20) instructions += 4;
    else if (code === 0x06) instructions += 2;
    else if (code === 0x35 || code === 0x15 || code === 0x45)
      instructions += (jf === 0 || (jt === 0 && code !== 0x45) ? 1 : 2) + (k >= 2 ** 31 ? 1 : 0);
    else instructions += 1;
  }
  return 96 + instructions * 8;
}

/** The program with these sockets in its slots, as many as there are slots for; `safe`: a live one that is not among them. */
export function patched(guarded: Guarded, blocked: readonly number[], safe: number): Instruction[] {
  const program = [...guarded.program];
  const write = (offset: number, k: number) => {
    program[offset] = { ...(program[offset] as Instruction), k };
  };
  guarded.slots.forEach((offsets, i) => offsets.forEach((offset) => write(offset, blocked[i] ?? NOBODY)));
  write(guarded.safe, safe);
  return program;
}
