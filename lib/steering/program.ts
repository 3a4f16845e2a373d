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
  branchEqual,
  type Instruction,
  JGE,
  loadAbsolute,
  type Program,
  verify,
} from './bpf';
import {
  type Exit,
  even,
  longestRun,
  placeholder,
  RETURN,
  resolve,
  tree,
  type Weighted,
  weighted,
} from './parts';

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
const POOL = placeholder(0);

/** A stretch of CPUs, from `from` to the next stretch, with the same thing to do. A holds the CPU when `code` starts. */
interface Stretch {
  readonly from: number;
  readonly code: Program;
  readonly key: string;
}

/** Weights of the connections over loopback. */
function byLoopback(sockets: readonly SteeringSocket[]): Weighted[] {
  return sockets.map(({ index, loopback = 1 }) => ({ index, weight: loopback }));
}

/** Weighted, or even if all weights are the same, or if no socket has any. */
function pool(sockets: readonly Weighted[], exit: Exit): Instruction[] {
  const inPool = sockets.filter(({ weight }) => weight > 0);
  const list = inPool.length > 0 ? inPool : sockets;
  const weight = list[0]?.weight;
  return list.every((socket) => socket.weight === weight)
    ? even(
        list.map(({ index }) => index),
        exit,
      )
    : weighted(list, exit);
}

/** What to do on a CPU: give its own socket, or draw, or go to the pool. */
function stretchOf(cpu: number, own: { index: number; keep: number } | undefined, exit: Exit): Stretch {
  const threshold = own ? Math.floor(own.keep * TWO_32) : 0;
  if (!own || threshold <= 0) return { from: cpu, code: [POOL], key: 'pool' };
  if (threshold >= TWO_32) {
    // Index = CPU + a constant: neighbours with the same constant share these two instructions, and
    // a host whose cores are numbered in the order of its workers needs no tree at all.
    const shift = own.index - cpu;
    return { from: cpu, code: [add(shift), ...exit.inA()], key: `shift ${shift}` };
  }
  const kept = exit.constant(own.index);
  const draw = [loadAbsolute(AD_RANDOM), { code: JGE, jt: kept.length, jf: 0, k: threshold }, ...kept, POOL];
  return { from: cpu, code: draw, key: `draw ${cpu}` };
}

/** The whole axis of CPUs as stretches; CPUs without an entry of their own belong to the pool. */
function stretches(table: SteeringTable, exit: Exit): Stretch[] {
  const live = new Set(table.sockets.map(({ index }) => index));
  const all: Stretch[] = [stretchOf(0, undefined, exit)];
  let next = 0;
  for (const [cpu, own] of [...table.own].sort(([a], [b]) => a - b)) {
    if (cpu > next) all.push(stretchOf(next, undefined, exit));
    all.push(stretchOf(cpu, live.has(own.index) ? own : undefined, exit));
    next = cpu + 1;
  }
  all.push(stretchOf(next, undefined, exit));
  // Of two stretches that start at the same CPU (an empty one before it) the later one counts.
  const nonEmpty = all.filter((stretch, i) => all[i + 1]?.from !== stretch.from);
  return nonEmpty.filter((stretch, i) => i === 0 || nonEmpty[i - 1]?.key !== stretch.key);
}

/** A stretch of a single CPU needs no arithmetic: RET #k is one instruction less than ADD, RET A. */
function perCpu(table: SteeringTable, list: readonly Stretch[], exit: Exit): Instruction[] {
  return tree(list, (stretch) => {
    const after = list[list.indexOf(stretch) + 1];
    const single = stretch.key.startsWith('shift') && after?.from === stretch.from + 1;
    const own = table.own.get(stretch.from);
    return single && own ? exit.constant(own.index) : stretch.code;
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

/** Layout: [loopback test, its part] CPU tree, pool. */
function whole(table: SteeringTable, exit: Exit): Instruction[] {
  const sockets = [...table.sockets].sort((a, b) => a.index - b.index);
  const common = pool(sockets, exit);
  const steered = stretches(table, exit);
  if (steered.length === 1 && steered[0]?.key === 'pool') return common;
  const body = [loadAbsolute(AD_CPU), ...perCpu(table, steered, exit), ...common];
  if (!table.loopbackEven) return resolve(body, POOL, body.length - common.length);
  const indexes = sockets.map(({ index }) => index);
  const head = [...exit.beforeEnd(indexes[0] as number), loadAbsolute(AD_IFINDEX)];
  const program = [...head, ...branchEqual(LOOPBACK, pool(byLoopback(sockets), exit), body)];
  return resolve(program, POOL, program.length - common.length);
}

/** The table with each CPU keeping all or nothing, and an even pool. */
function rounded({ sockets, own, loopbackEven }: SteeringTable): SteeringTable {
  return {
    sockets: sockets.map(({ index }) => ({ index, weight: 1 })),
    own: new Map([...own].map(([cpu, { index, keep }]) => [cpu, { index, keep: keep >= 0.5 ? 1 : 0 }])),
    loopbackEven,
  };
}

/**
 * The choice of a socket, in full (step 0) or as one of the `smallerProgram`s, leaving by `exit`. Not verified: it may be
 * too long for the kernel.
 */
export function choice(table: SteeringTable, step: number, exit: Exit): Instruction[] | undefined {
  checkTable(table);
  const indexes = table.sockets.map(({ index }) => index).sort((a, b) => a - b);
  switch (step) {
    case 0:
      return whole(table, exit);
    case 1:
      return whole(rounded(table), exit);
    case 2:
      return even(indexes, exit);
    case 3:
      return even(longestRun(indexes), exit);
    case 4:
      return [...exit.constant(indexes[0] as number)];
    default:
      return undefined;
  }
}

/**
 * The program of a table. Its result is always the index of a live socket: an entry of `own` whose
 * socket is not among `sockets` counts as no entry. (A result outside the group would fall back to
 * the kernel's hash over all sockets, those of dead workers too: net/core/sock_reuseport.c.)
 *
 * Size, for 128 CPUs and sockets: see the tests. Steps: logarithmic in both numbers.
 *
 * @throws RangeError on a table that makes no sense, and on one that needs more than the 4,096
 *   instructions that the kernel takes (some 450 CPUs that all draw): `programs` goes on to a smaller one.
 */
export function generate(table: SteeringTable): Instruction[] {
  return smallerProgram(table, 0) as Instruction[];
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
  const program = choice(table, step, RETURN);
  if (program) verify(program);
  return program;
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
      const program = smallerProgram(table, step);
      if (!program) return;
      yield { program, step };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
}
