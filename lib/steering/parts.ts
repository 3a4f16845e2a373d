// SPDX-License-Identifier: Apache-2.0
// What programs that choose a socket are put together from.

import {
  AD_RANDOM,
  add,
  branch,
  giveA,
  giveConstant,
  type Instruction,
  JA,
  jump,
  loadAbsolute,
  loadConstant,
  modulo,
  type Program,
} from './bpf';

export interface Weighted {
  readonly index: number;
  readonly weight: number;
}

/** Where a program leads once a socket is chosen. */
export interface Exit {
  /** This socket. */
  constant(index: number): Program;
  /** The socket whose index is in A. */
  inA(): Program;
  /** Comes before a load that may end the program with what is in A (AD_IFINDEX): leaves this socket's index there. */
  beforeEnd(index: number): Program;
}

/** The choice is the program's result. */
export const RETURN: Exit = {
  constant: (index) => [giveConstant(index)],
  inA: () => [giveA()],
  beforeEnd: (index) => [loadConstant(index)],
};

/** A jump to what follows a part, for as long as it is not known how far that is. No program is so long. */
export const placeholder = (n: number): Instruction => Object.freeze(jump(0xffffffff - n));

/** The jumps that are this placeholder lead to `target`, an offset in the part. */
export function resolve(part: Program, mark: Instruction, target = part.length): Instruction[] {
  return part.map((instruction, at) =>
    instruction.code === JA && instruction.k === mark.k ? jump(target - at - 1) : instruction,
  );
}

const TWO_32 = 2 ** 32;

interface Slice {
  readonly from: number;
  readonly index: number;
}

/** Binary decision tree over stretches: the longest path grows with the logarithm of their number. */
export function tree<T extends { readonly from: number }>(
  items: readonly T[],
  leaf: (item: T) => Program,
): Instruction[] {
  if (items.length === 1) return [...leaf(items[0] as T)];
  const middle = items.length >> 1;
  const bound = (items[middle] as T).from;
  return branch(bound, tree(items.slice(0, middle), leaf), tree(items.slice(middle), leaf));
}

/** Cumulative weights scaled to 32 bits; sockets whose share rounds to nothing are left out. */
function slices(sockets: readonly Weighted[]): Slice[] {
  const total = sockets.reduce((sum, { weight }) => sum + weight, 0);
  const result: Slice[] = [];
  let sum = 0;
  for (const { index, weight } of sockets) {
    const from = Math.round((sum / total) * TWO_32);
    sum += weight;
    if (Math.round((sum / total) * TWO_32) > from) result.push({ from, index });
  }
  return result;
}

/** A run of consecutive indexes, `first` to `first + length - 1`; `from` indexes stand before it. */
interface Run {
  readonly from: number;
  readonly first: number;
  readonly length: number;
}

export function runs(indexes: readonly number[]): Run[] {
  const result: Run[] = [];
  indexes.forEach((index, at) => {
    const last = result[result.length - 1];
    if (last && index === last.first + last.length)
      result[result.length - 1] = { ...last, length: last.length + 1 };
    else result.push({ from: at, first: index, length: 1 });
  });
  return result;
}

/**
 * Each of the indexes (ascending) with the same probability (n does not divide 2^32: off by at most
 * n / 2^32): a number below n is the place in the list, and within a run place and index differ by a constant.
 */
export function even(indexes: readonly number[], exit: Exit): Instruction[] {
  if (indexes.length === 1) return [...exit.constant(indexes[0] as number)];
  const leaf = ({ from, first, length }: Run): Program =>
    length === 1 ? exit.constant(first) : [add(first - from), ...exit.inA()];
  return [loadAbsolute(AD_RANDOM), modulo(indexes.length), ...tree(runs(indexes), leaf)];
}

export function weighted(sockets: readonly Weighted[], exit: Exit): Instruction[] {
  const cut = slices(sockets);
  const choice = tree(cut, ({ index }) => exit.constant(index));
  return cut.length > 1 ? [loadAbsolute(AD_RANDOM), ...choice] : choice;
}

export function longestRun(indexes: readonly number[]): number[] {
  const longest = runs(indexes).reduce((best, run) => (run.length > best.length ? run : best));
  return Array.from({ length: longest.length }, (_, i) => longest.first + i);
}
