// SPDX-License-Identifier: Apache-2.0
// Programs that keep connections away from blocked sockets: whoever attaches one writes the sockets' indexes into it
// first, and needs to generate nothing for that.

import {
  copyFromX,
  copyToX,
  giveA,
  type Instruction,
  JEQ,
  loadConstant,
  MAX_INSTRUCTIONS,
  verify,
} from './bpf';
import { type Exit, even, longestRun, placeholder, resolve } from './parts';
import { choice, type SteeringTable } from './program';

/**
 * In a slot it matches nothing: no group has a socket of this index (they fit into 16 bits, `u16 num_socks` in
 * include/net/sock_reuseport.h). Below 2^31, from where on a comparison takes the kernel one more instruction
 * (net/core/filter.c, bpf_convert_filter).
 */
export const NOBODY = 0x7fffffff;
/** Most sockets that a program can keep connections away from. */
export const MAX_SLOTS = 16;
/** Comparisons after draws that may be had on top, so that a second draw, or more, comes before the safe socket. */
const MORE_COMPARISONS = 16;
const MOST_DRAWS = 4;

export interface Guarded {
  readonly program: readonly Instruction[];
  /**
   * Offsets of the instructions, for each slot, whose operand is to be the index of one blocked socket, the same in all of
   * them; NOBODY where a slot is not used.
   */
  readonly slots: readonly (readonly number[])[];
  /** Offset of the instruction whose operand is a live socket's index that is in no slot. */
  readonly safe: number;
}

/** Stands for "to the test that follows this part". */
const TEST = placeholder(1);

/** What is chosen is tested. X holds the safe socket, and A too when the program starts. */
const TESTED: Exit = {
  constant: (index) => [loadConstant(index), TEST],
  inA: () => [TEST],
  beforeEnd: () => [copyFromX()],
};

/** A socket in none of the slots is the result; for one that is in a slot, on to what follows. */
function test(slots: number): Instruction[] {
  const compare = Array.from({ length: slots }, (_, i) => ({ code: JEQ, jt: slots - i, jf: 0, k: NOBODY }));
  return [...compare, giveA()];
}

/**
 * The program of a table (or one of its smaller ones, `step` as in smallerProgram), with a tail through which every
 * choice passes: a socket that is in a slot gives way to one drawn evenly from all live ones. One that is drawn and is in a
 * slot, too, gives way to another draw, or to the safe socket after the last. With empty slots the result is that of the
 * program without a tail, from the same random numbers.
 *
 * Layout: safe socket to X; choice, test; draw, test; ...; X. The tests add at most 32 comparisons to the longest path, and
 * every draw the logarithm of the number of gaps between live indexes.
 *
 * @returns undefined where there is nobody to go to instead (one socket), and where it would have more than the 4,096
 *   instructions that the kernel takes: then a smaller one may do.
 * @throws RangeError on a table that makes no sense.
 */
export function guarded(table: SteeringTable, step = 0): Guarded | undefined {
  const first = choice(table, step, TESTED);
  const all = table.sockets.map(({ index }) => index).sort((a, b) => a - b);
  const live = step < 3 ? all : longestRun(all);
  if (!first || step > 3 || live.length === 1) return undefined;
  const width = Math.min(live.length - 1, MAX_SLOTS);
  const draws = Math.min(Math.floor(MORE_COMPARISONS / width), MOST_DRAWS, width);
  const slots: number[][] = Array.from({ length: width }, () => []);
  const program = [loadConstant(live[0] as number), copyToX()];
  for (let i = 0; i <= draws; i++) {
    program.push(...resolve(i === 0 ? first : even(live, TESTED), TEST));
    slots.forEach((offsets, slot) => offsets.push(program.length + slot));
    program.push(...test(width));
  }
  program.push(copyFromX(), giveA());
  if (program.length > MAX_INSTRUCTIONS) return undefined;
  verify(program);
  return { program, slots, safe: 0 };
}

/**
 * The guarded programs of a table, largest first, for as long as the kernel says ENOMEM. Empty where there is none.
 *
 * @param from step of the program that is attached while nobody is blocked: no guarded one need be finer.
 */
export function* guardedPrograms(
  table: SteeringTable,
  from = 0,
): Generator<{ readonly guarded: Guarded; readonly step: number }> {
  for (let step = from; step <= 3; step++) {
    const result = guarded(table, step);
    if (result) yield { guarded: result, step };
  }
}
