// SPDX-License-Identifier: Apache-2.0
// Table -> classic BPF program of a reuseport group (SO_ATTACH_REUSEPORT_CBPF, socket(7)).
//
// A row of free weights for every CPU does not fit: 128 CPUs x 128 sockets would be 16,384 weights of
// two instructions each, and 4,096 is the limit. "Own socket with a probability, else a pool common
// to all CPUs" does.

import {
  AD_CPU,
  AD_IFINDEX,
  AD_RANDOM,
  add,
  branch,
  branchEqual,
  giveA,
  giveConstant,
  type Instruction,
  JA,
  JGE,
  jump,
  loadAbsolute,
  loadConstant,
  modulo,
  type Program,
  verify,
} from './bpf';

export { encode } from './bpf';

export interface SteeringSocket {
  readonly index: number;
  /** Its weight in the pool. */
  readonly weight: number;
  /** Its weight among connections over loopback; undefined: 1. */
  readonly loopback?: number | undefined;
}

export interface SteeringTable {
  /** The live sockets, by index in the group (order of listen()). At least one. */
  readonly sockets: readonly SteeringSocket[];
  /** CPU -> its own worker's socket, and the probability (0..1) with which a connection stays there. */
  readonly own: ReadonlyMap<number, { readonly index: number; readonly keep: number }>;
  /** Connections over the loopback interface skip the per-CPU part and go to the live sockets, evenly or by `loopback`. */
  readonly loopbackEven: boolean;
}

const TWO_32 = 2 ** 32;
/** LOOPBACK_IFINDEX (include/net/flow.h): the same in every network namespace. */
const LOOPBACK = 1;
/** Stands for "to the pool" until it is known how far that is. */
const POOL: Instruction = Object.freeze(jump(TWO_32 - 1));

/** A stretch of CPUs, from `from` to the next stretch, with the same thing to do. A holds the CPU when `code` starts. */
interface Stretch {
  readonly from: number;
  readonly code: Program;
  readonly key: string;
}

interface Slice {
  readonly from: number;
  readonly index: number;
}

/** Binary decision tree over stretches: the longest path grows with the logarithm of their number. */
function tree<T extends { readonly from: number }>(
  items: readonly T[],
  leaf: (item: T) => Program,
): Instruction[] {
  if (items.length === 1) return [...leaf(items[0] as T)];
  const middle = items.length >> 1;
  const bound = (items[middle] as T).from;
  return branch(bound, tree(items.slice(0, middle), leaf), tree(items.slice(middle), leaf));
}

/** Cumulative weights scaled to 32 bits; sockets whose share rounds to nothing are left out. */
function slices(sockets: SteeringTable['sockets']): Slice[] {
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

function runs(indexes: readonly number[]): Run[] {
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
function even(indexes: readonly number[]): Instruction[] {
  if (indexes.length === 1) return [giveConstant(indexes[0] as number)];
  const leaf = ({ from, first, length }: Run): Program =>
    length === 1 ? [giveConstant(first)] : [add(first - from), giveA()];
  return [loadAbsolute(AD_RANDOM), modulo(indexes.length), ...tree(runs(indexes), leaf)];
}

function weighted(sockets: SteeringTable['sockets']): Instruction[] {
  const cut = slices(sockets);
  const choice = tree(cut, ({ index }) => [giveConstant(index)]);
  return cut.length > 1 ? [loadAbsolute(AD_RANDOM), ...choice] : choice;
}

/** Weights of the connections over loopback. */
function byLoopback(sockets: SteeringTable['sockets']): SteeringSocket[] {
  return sockets.map(({ index, loopback = 1 }) => ({ index, weight: loopback }));
}

/** Weighted, or even if all weights are the same, or if no socket has any. */
function pool(sockets: SteeringTable['sockets']): Instruction[] {
  const inPool = sockets.filter(({ weight }) => weight > 0);
  const list = inPool.length > 0 ? inPool : sockets;
  const weight = list[0]?.weight;
  return list.every((socket) => socket.weight === weight)
    ? even(list.map(({ index }) => index))
    : weighted(list);
}

/** What to do on a CPU: give its own socket, or draw, or go to the pool. */
function stretchOf(cpu: number, own: { index: number; keep: number } | undefined): Stretch {
  const threshold = own ? Math.floor(own.keep * TWO_32) : 0;
  if (!own || threshold <= 0) return { from: cpu, code: [POOL], key: 'pool' };
  if (threshold >= TWO_32) {
    // Index = CPU + a constant: neighbours with the same constant share these two instructions, and
    // a host whose cores are numbered in the order of its workers needs no tree at all.
    const shift = own.index - cpu;
    return { from: cpu, code: [add(shift), giveA()], key: `shift ${shift}` };
  }
  const draw = [
    loadAbsolute(AD_RANDOM),
    { code: JGE, jt: 1, jf: 0, k: threshold },
    giveConstant(own.index),
    POOL,
  ];
  return { from: cpu, code: draw, key: `draw ${cpu}` };
}

/** The whole axis of CPUs as stretches; CPUs without an entry of their own belong to the pool. */
function stretches(table: SteeringTable): Stretch[] {
  const live = new Set(table.sockets.map(({ index }) => index));
  const all: Stretch[] = [stretchOf(0, undefined)];
  let next = 0;
  for (const [cpu, own] of [...table.own].sort(([a], [b]) => a - b)) {
    if (cpu > next) all.push(stretchOf(next, undefined));
    all.push(stretchOf(cpu, live.has(own.index) ? own : undefined));
    next = cpu + 1;
  }
  all.push(stretchOf(next, undefined));
  // Of two stretches that start at the same CPU (an empty one before it) the later one counts.
  const nonEmpty = all.filter((stretch, i) => all[i + 1]?.from !== stretch.from);
  return nonEmpty.filter((stretch, i) => i === 0 || nonEmpty[i - 1]?.key !== stretch.key);
}

/** A stretch of a single CPU needs no arithmetic: RET #k is one instruction less than ADD, RET A. */
function perCpu(table: SteeringTable): Instruction[] {
  const list = stretches(table);
  return tree(list, (stretch) => {
    const after = list[list.indexOf(stretch) + 1];
    const single = stretch.key.startsWith('shift') && after?.from === stretch.from + 1;
    const own = table.own.get(stretch.from);
    return single && own ? [giveConstant(own.index)] : stretch.code;
  });
}

function checkTable(table: SteeringTable): void {
  if (table.sockets.length === 0) throw new RangeError('a steering table without a live socket');
  for (const { index, weight, loopback = 1 } of table.sockets) {
    if (!Number.isInteger(index) || index < 0 || index > 0xffff)
      throw new RangeError(`socket index ${index}`);
    for (const each of [weight, loopback])
      if (!(each >= 0 && each < Infinity)) throw new RangeError(`weight ${each} of socket ${index}`);
  }
  for (const [cpu, { keep }] of table.own) {
    if (!Number.isInteger(cpu) || cpu < 0) throw new RangeError(`CPU ${cpu}`);
    if (!(keep >= 0 && keep <= 1)) throw new RangeError(`probability ${keep} on CPU ${cpu}`);
  }
}

/**
 * The program of a table. Its result is always the index of a live socket: an entry of `own` whose
 * socket is not among `sockets` counts as no entry. (A result outside the group would fall back to
 * the kernel's hash over all sockets, those of dead workers too: net/core/sock_reuseport.c.)
 *
 * Layout: [loopback test, its part] CPU tree, pool. Size, for 128 CPUs and sockets: see the tests.
 * Steps: logarithmic in both numbers.
 *
 * @throws RangeError on a table that makes no sense, and on one that needs more than the 4,096
 *   instructions that the kernel takes (some 450 CPUs that all draw): `programs` goes on to a smaller one.
 */
export function generate(table: SteeringTable): Instruction[] {
  checkTable(table);
  const sockets = [...table.sockets].sort((a, b) => a.index - b.index);
  const common = pool(sockets);
  const steered = stretches(table);
  if (steered.length === 1 && steered[0]?.key === 'pool') return finish(common, []);
  const body = [loadAbsolute(AD_CPU), ...perCpu(table), ...common];
  if (!table.loopbackEven) return finish(body, common);
  const indexes = sockets.map(({ index }) => index);
  // Loading the interface's index returns A at once if the packet has no device, so A must hold a live index before.
  const head = [loadConstant(indexes[0] as number), loadAbsolute(AD_IFINDEX)];
  return finish([...head, ...branchEqual(LOOPBACK, pool(byLoopback(sockets)), body)], common);
}

/** Fills in the jumps to the pool, which is the last part of the program, and checks it. */
function finish(program: Program, common: Program): Instruction[] {
  const start = program.length - common.length;
  const done = program.map((instruction, at) =>
    instruction.code === JA && instruction.k === POOL.k ? jump(start - at - 1) : instruction,
  );
  verify(done);
  return done;
}

function longestRun(indexes: readonly number[]): number[] {
  const longest = runs(indexes).reduce((best, run) => (run.length > best.length ? run : best));
  return Array.from({ length: longest.length }, (_, i) => longest.first + i);
}

/**
 * Programs to fall back on when the kernel has no room for the whole one (ENOMEM: the converted
 * program is larger than net.core.optmem_max, 20,480 bytes for a long time).
 *
 * @param step 1: CPUs keep all or nothing, even pool. 2: evenly over the live sockets. 3: evenly over
 *   the longest run of consecutive live indexes (four instructions). 4: always one socket.
 * @returns undefined after the last step.
 */
export function smallerProgram(table: SteeringTable, step = 1): Instruction[] | undefined {
  checkTable(table);
  const indexes = table.sockets.map(({ index }) => index).sort((a, b) => a - b);
  switch (step) {
    case 1: {
      const own = new Map(
        [...table.own].map(([cpu, { index, keep }]) => [cpu, { index, keep: keep >= 0.5 ? 1 : 0 }]),
      );
      const sockets = indexes.map((index) => ({ index, weight: 1 }));
      return generate({ sockets, own, loopbackEven: table.loopbackEven });
    }
    case 2:
      return finish(even(indexes), []);
    case 3:
      return even(longestRun(indexes));
    case 4:
      return [giveConstant(indexes[0] as number)];
    default:
      return undefined;
  }
}

/**
 * The program of a table, then the smaller ones, for as long as the kernel says ENOMEM. Never empty,
 * never a program that the kernel would refuse for its form.
 */
export function* programs(
  table: SteeringTable,
): Generator<{ readonly program: Program; readonly step: number }> {
  checkTable(table);
  for (let step = 0; ; step++) {
    try {
      const program = step === 0 ? generate(table) : smallerProgram(table, step);
      if (!program) return;
      yield { program, step };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
}
