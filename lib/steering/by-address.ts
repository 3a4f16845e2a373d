// SPDX-License-Identifier: Apache-2.0
// Clients -> workers by the client's address: a classic BPF program that gives one client the same worker's socket every
// time for as long as that worker lives.

import {
  add,
  branchEqual,
  copyToX,
  giveA,
  giveConstant,
  type Instruction,
  JSET,
  loadAbsolute,
  loadConstant,
  loadMemory,
  mask,
  modulo,
  multiply,
  NET,
  type Program,
  shiftRight,
  shiftRightByX,
  store,
  verify,
  xor,
  xorX,
} from './bpf';
import { longestRun, placeholder, resolve, runs, tree } from './parts';

export interface AddressTable {
  /** Worker sockets that the group has, dead ones too: indexes 1 to this. It never changes while the group lives. */
  readonly workers: number;
  /** Indexes of those that live, ascending. At least one. */
  readonly live: readonly number[];
}

/** How many workers a client is offered by chance before it goes along the row of sockets to the next live one. */
const ROUNDS = 8;

/** Words of memory: the hash of the round, and the worker that it says (counted from 0). */
const HASH = 0;
const PLACE = 1;

/** Offset of the source address in the headers (RFC 791, RFC 8200); of an IPv6 address the first half is looked at. */
const SOURCE_4 = NET + 12;
const SOURCE_6 = NET + 8;

/** Stands for "to the question whether this worker lives". */
const ASK = placeholder(0);

/** A ^= A >> n. */
const fold = (n: number): Instruction[] => [copyToX(), shiftRight(n), xorX()];

/** The finalizer of MurmurHash3 (Austin Appleby, public domain): each bit of A depends on each, no two values become one. */
const MIX: Program = [...fold(16), multiply(0x85ebca6b), ...fold(13), multiply(0xc2b2ae35), ...fold(16)];

/** Multiplier of a round (2^32 / the golden ratio): the high bits come to depend on the low ones, and are folded onto them. */
const NEXT: Program = [multiply(0x9e3779b1), ...fold(15)];

/**
 * A = hash of the client's address. The version is the packet's, not the socket's: to a socket of `::` an IPv4 client comes
 * in IPv4 packets, whose lookup takes such sockets, too (net/ipv4/inet_hashtables.c, compute_score: ipv6_only_sock).
 */
function hash(seed: number): Instruction[] {
  const six = [loadAbsolute(SOURCE_6), xor(seed), ...MIX, copyToX(), loadAbsolute(SOURCE_6 + 4), xorX(), ASK];
  const four = [loadAbsolute(SOURCE_4), xor(seed)];
  const address = branchEqual(6, six, four);
  return [loadAbsolute(NET), shiftRight(28), ...resolve(address, ASK), ...MIX];
}

/** 32 workers whose first is `from`, and a bit for each that lives. */
interface Word {
  readonly from: number;
  readonly bits: number;
}

function words({ workers, live }: AddressTable): Word[] {
  const bits = Array.from({ length: Math.ceil(workers / 32) }, () => 0);
  for (const index of live) {
    const place = index - 1;
    bits[place >> 5] = ((bits[place >> 5] as number) | (1 << (place & 31))) >>> 0;
  }
  const all = bits.map((word, i) => ({ from: i * 32, bits: word }));
  return all.filter((word, i) => i === 0 || all[i - 1]?.bits !== word.bits);
}

/** The hash in A says a worker: given if it lives, else the program goes on after this part. */
function offer(table: AddressTable): Instruction[] {
  const bits = tree(words(table), (word) => [loadConstant(word.bits), ASK]);
  return [
    store(HASH),
    modulo(table.workers),
    store(PLACE),
    mask(31),
    copyToX(),
    loadMemory(PLACE),
    ...resolve(bits, ASK),
    shiftRightByX(),
    { code: JSET, jt: 0, jf: 3, k: 1 },
    loadMemory(PLACE),
    add(1),
    giveA(),
  ];
}

/** The first live worker from the place in A on, and after the last place from the first. */
function nextLive({ live, workers }: AddressTable): Instruction[] {
  const stretches: { readonly from: number; readonly code: Program }[] = [];
  let place = 0;
  for (const { first, length } of runs(live)) {
    // places of dead workers before the run share the run's first worker with its own place
    const same = first - 1 > place;
    if (same) stretches.push({ from: place, code: [giveConstant(first)] });
    if (!same || length > 1) stretches.push({ from: same ? first : first - 1, code: [add(1), giveA()] });
    place = first - 1 + length;
  }
  if (place < workers) stretches.push({ from: place, code: [giveConstant(live[0] as number)] });
  return tree(stretches, ({ code }) => code);
}

function checkTable({ workers, live }: AddressTable): void {
  if (live.length === 0) throw new RangeError('no live worker');
  live.forEach((index, i) => {
    if (!Number.isInteger(index) || index < 1 || index > workers || index <= (live[i - 1] ?? 0))
      throw new RangeError(`worker ${index} of ${workers}`);
  });
}

/**
 * The program of a table. Each client has an order of preference over all the group's workers, from its address and the
 * seed alone: h1 % workers, h2 % workers, ... (`rounds` of them), then along the row of sockets from the last one. It gets
 * the first that lives. So a worker that dies moves its own clients and nobody else's, to workers all over the group, and
 * gets just these back when it lives again.
 *
 * A client of IPv4 is its address; of IPv6 the first 64 bits, which is what a household or a server has for itself. The seed
 * keeps a client from choosing its worker in advance; it is no secret from one that is told which workers it meets at many
 * addresses.
 *
 * @throws RangeError on a table that makes no sense, and on a program of more than the 4,096 instructions that the kernel
 *   takes (not with 1,024 workers, whichever of them live).
 */
export function generateByAddress(table: AddressTable, seed: number, rounds = ROUNDS): Instruction[] {
  checkTable(table);
  const { live, workers } = table;
  if (live.length === 1) return [giveConstant(live[0] as number)];
  const program = hash(seed);
  if (live.length === workers) program.push(modulo(workers), add(1), giveA());
  else {
    for (let round = 0; round < rounds; round++) {
      if (round > 0) program.push(loadMemory(HASH), ...NEXT);
      program.push(...offer(table));
    }
    program.push(loadMemory(PLACE), ...nextLive(table));
  }
  verify(program);
  return program;
}

/**
 * The program of a table, then smaller ones, for as long as the kernel says ENOMEM (net.core.optmem_max). All but the last
 * keep a client with its worker for as long as the same workers live. Step 1: one round, so that all clients of a dead
 * worker go to its neighbour. Step 2: by the hash over the longest run of consecutive live indexes, and many clients move when
 * a worker comes or goes. Step 3: always one socket.
 */
export function* addressPrograms(
  table: AddressTable,
  seed: number,
): Generator<{ readonly program: Program; readonly step: number }> {
  checkTable(table);
  const run = longestRun(table.live);
  const first = run[0] as number;
  const candidates = [
    () => generateByAddress(table, seed),
    () => generateByAddress(table, seed, 1),
    () => [...hash(seed), modulo(run.length), add(first), giveA()],
    () => [giveConstant(first)],
  ];
  for (const [step, candidate] of candidates.entries()) {
    try {
      yield { program: candidate(), step };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
}
