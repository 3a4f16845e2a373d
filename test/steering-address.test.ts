// SPDX-License-Identifier: Apache-2.0
// Steering by the client's address: spread evenly, and nobody moves without need.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveConstant, type Program } from '../lib/steering/bpf';
import { type AddressTable, addressPrograms, generateByAddress } from '../lib/steering/by-address';
import { run } from '../lib/steering/interpreter';
import { dice, kernelBytes, pick, surprise } from './steering-helper';
import { assertEstimates, optmemFor, whyNoOptmem } from './support/optmem';
import { attach, group, observe, skip } from './support/reuseport-group';

const OPTMEM = 20_480;

/** What a program sees of a packet of IPv4 from this address. */
function packet4(address: number): Uint8Array {
  const bytes = new Uint8Array(20);
  bytes[0] = 0x45;
  new DataView(bytes.buffer).setUint32(12, address);
  return bytes;
}

/** ... of IPv6, from an address of these four words. */
function packet6(...words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(40);
  bytes[0] = 0x60;
  words.forEach((word, i) => new DataView(bytes.buffer).setUint32(8 + 4 * i, word));
  return bytes;
}

const many = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

/** Clients whose addresses differ in few bits, at either end, as a provider's or a company's do. */
const CLIENTS: ReadonlyMap<string, readonly Uint8Array[]> = new Map([
  ['10.0.0.1 to 10.0.0.254', many(254, (i) => packet4(0x0a000001 + i))],
  ['neighbours of IPv4', many(3000, (i) => packet4(0x0a000001 + i))],
  ['one in each /24', many(3000, (i) => packet4(0x0a000001 + i * 256))],
  ['one in each /16', many(3000, (i) => packet4(0x0a000001 + i * 0x10000))],
  ['neighbouring /64s', many(3000, (i) => packet6(0x20010db8, i, 0, 1))],
  ['neighbouring /48s', many(3000, (i) => packet6(0x20010db8, i << 16, 0, 1))],
  ['neighbouring /32s', many(3000, (i) => packet6(0x20010000 + i, 0, 0, 1))],
]);

const all = (workers: number): number[] => many(workers, (i) => i + 1);
const without = (workers: number, ...dead: number[]): AddressTable => ({
  workers,
  live: all(workers).filter((index) => !dead.includes(index)),
});

const go = (program: Program, network: Uint8Array): number =>
  run(program, { cpu: 0, random: () => assert.fail('it draws'), network }).result;

const assign = (program: Program, clients: readonly Uint8Array[]): number[] =>
  clients.map((client) => go(program, client));

function count(results: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const index of results) counts.set(index, (counts.get(index) ?? 0) + 1);
  return counts;
}

const evenly = (indexes: readonly number[]): Map<number, number> =>
  new Map(indexes.map((index) => [index, 1 / indexes.length]));

/** Live workers at random, at least one. */
function someOf(workers: number, random: () => number): AddressTable {
  const share = random();
  const live = all(workers).filter(() => random() < share);
  return { workers, live: live.length > 0 ? live : [1 + pick(random, workers)] };
}

test('clients spread evenly over 1 to 128 workers, whatever they differ in', () => {
  const random = dice(41);
  for (const [name, clients] of CLIENTS) {
    for (const workers of [1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 64, 100, 128]) {
      const program = generateByAddress(without(workers), random());
      const score = surprise(count(assign(program, clients)), evenly(all(workers)), clients.length);
      assert.ok(score < 4.5, `${name} over ${workers}: ${score}`);
    }
  }
});

test('the clients of dead workers spread evenly over all that live', () => {
  const random = dice(42);
  for (const [name, clients] of CLIENTS) {
    for (const [workers, dead] of [
      [3, [2]],
      [4, [1, 2]],
      [8, [8]],
      [32, [1, 2, 3]],
      [100, [5, 50, 51, 100]],
    ] as const) {
      const seed = random();
      const before = assign(generateByAddress(without(workers), seed), clients);
      const table = without(workers, ...dead);
      const after = assign(generateByAddress(table, seed), clients);
      const moved = after.filter((_, i) => (dead as readonly number[]).includes(before[i] as number));
      const score = surprise(count(moved), evenly(table.live), moved.length);
      assert.ok(score < 4.5, `${name}, ${dead} of ${workers} dead: ${score}`);
    }
  }
});

test('only clients of those who go move, and those of the ones who come back return', () => {
  const random = dice(43);
  const clients = many(150, () => packet4(random()));
  for (let round = 0; round < 150; round++) {
    const workers = [2, 3, 8, 40, 130][pick(random, 5)] as number;
    const seed = random();
    const home = assign(generateByAddress(without(workers), seed), clients);
    let last = without(workers).live;
    let places = home;
    for (let step = 0; step < 6; step++) {
      const { live } = someOf(workers, random);
      const next = assign(generateByAddress({ workers, live }, seed), clients);
      next.forEach((now, i) => {
        const before = places[i] as number;
        assert.ok(live.includes(now), 'a live one');
        if (live.includes(home[i] as number)) assert.equal(now, home[i], 'the first choice');
        // whoever is left by one who lives has been called back by one who has come
        if (now !== before && live.includes(before)) assert.ok(!last.includes(now), 'moved without need');
      });
      [last, places] = [live, next];
    }
    assert.deepEqual(assign(generateByAddress(without(workers), seed), clients), home);
  }
});

test('a client of IPv4 is its address, of IPv6 its first 64 bits', () => {
  const program = generateByAddress(without(64), 7);
  const random = dice(44);
  for (let i = 0; i < 200; i++) {
    const [high, low] = [random(), random()] as const;
    const home = go(program, packet6(high, low, 0, 1));
    assert.equal(go(program, packet6(high, low, random(), random())), home);
  }
  const differing = many(32, (bit) => go(program, packet4((0xc0a80001 ^ (1 << bit)) >>> 0)));
  assert.ok(new Set(differing).size > 16, 'every bit counts');
  for (const word of [0, 1]) {
    const base = [0x20010db8, 0x12345678, 0, 0];
    const changed = many(32, (bit) =>
      base.map((value, i) => (i === word ? value ^ (1 << bit) : value) >>> 0),
    );
    assert.ok(new Set(changed.map((words) => go(program, packet6(...words)))).size > 16);
  }
});

test('who goes where depends on the seed', () => {
  const clients = CLIENTS.get('10.0.0.1 to 10.0.0.254') as Uint8Array[];
  const [one, other] = [1, 2].map((seed) => assign(generateByAddress(without(8), seed), clients));
  const same = (one as number[]).filter((index, i) => index === other?.[i]).length;
  // binomial, 254 draws at an eighth: 32 +- 5.3
  assert.ok(same > 8 && same < 60, `${same}`);
});

test('a packet without what is looked for goes to the origin, as the kernel has it', () => {
  assert.equal(go(generateByAddress(without(4), 1), packet6(1, 2, 3, 4).subarray(0, 12)), 0);
});

test('one live worker is one instruction, all of them need no question', () => {
  assert.deepEqual(generateByAddress({ workers: 9, live: [4] }, 1), [giveConstant(4)]);
  assert.deepEqual(generateByAddress(without(1), 1), [giveConstant(1)]);
  assert.ok(generateByAddress(without(1024), 1).length < 40);
});

test('128 workers fit into 20,480 bytes of optmem_max and 1,024 into 4,096 instructions, whoever lives', () => {
  const random = dice(45);
  const worst = (workers: number): AddressTable[] => [
    { workers, live: all(workers).filter((index) => index % 2 === 0) },
    { workers, live: all(workers).filter((index) => index % 3 !== 0) },
    { workers, live: all(workers).filter((index) => index % 4 > 1) },
    ...many(10, () => someOf(workers, random)),
  ];
  let longest = 0;
  for (const table of [...worst(128), ...worst(1024)]) {
    const program = generateByAddress(table, random());
    assert.ok(program.length < 3000, `${program.length} instructions`);
    if (table.workers === 128) assert.ok(kernelBytes(program) < OPTMEM / 4, `${kernelBytes(program)} bytes`);
    for (let i = 0; i < 300; i++) {
      const { steps } = run(program, { cpu: 0, random, network: packet6(random(), random()) });
      longest = Math.max(longest, steps);
    }
  }
  assert.ok(longest < 320, `longest path ${longest}`);
});

test('smaller programs: each smaller, always a live worker, sticky but for the last', () => {
  const random = dice(46);
  const clients = many(500, () => packet4(random()));
  for (let round = 0; round < 40; round++) {
    const table = someOf(2 + pick(random, 127), random);
    const seed = random();
    const candidates = [...addressPrograms(table, seed)];
    assert.deepEqual(
      candidates.map(({ step }) => step),
      [0, 1, 2, 3],
    );
    for (const { program } of candidates) {
      const once = assign(program, clients);
      assert.ok(once.every((index) => table.live.includes(index)));
      assert.deepEqual(assign(program, clients), once);
    }
  }
  const table = without(8, 3, 5);
  const results = [...addressPrograms(table, 9)].map(({ program }) => count(assign(program, clients)));
  assert.deepEqual(
    results.map((counts) => [...counts.keys()].sort()),
    [[1, 2, 4, 6, 7, 8], [1, 2, 4, 6, 7, 8], [6, 7, 8], [6]],
  );
  const sizes = [...addressPrograms(table, 9)].map(({ program }) => kernelBytes(program));
  assert.deepEqual(
    [...sizes].sort((a, b) => b - a),
    sizes,
  );
});

test('with one round, too, only clients of those who go move', () => {
  const clients = CLIENTS.get('neighbours of IPv4') as Uint8Array[];
  const before = assign(generateByAddress(without(8), 3, 1), clients);
  const after = assign(generateByAddress(without(8, 3), 3, 1), clients);
  after.forEach((index, i) => assert.equal(index, before[i] === 3 ? 4 : before[i]));
});

test('tables that make no sense are refused', () => {
  assert.throws(() => generateByAddress({ workers: 3, live: [] }, 1), /no live worker/);
  for (const live of [[0, 1], [4], [1.5], [2, 1], [1, 1]])
    assert.throws(() => generateByAddress({ workers: 3, live }, 1), /worker \S+ of 3/);
  assert.throws(() => [...addressPrograms({ workers: 3, live: [] }, 1)], /no live worker/);
});

test('in the kernel: every client where the interpreter says', { skip }, async (t) => {
  const target = group(t, 41);
  for (const table of [without(40), without(40, 1, 7, 33, 40), { workers: 40, live: [3, 4, 39] }]) {
    for (const { program, step } of addressPrograms(table, 0xdeadbeef)) {
      attach(target, program);
      for (let i = 1; i <= 25; i++) {
        const expected = go(program, packet4(0x7f4d0200 + i));
        assert.deepEqual([...(await observe(target, 2, `127.77.2.${i}`))], [[expected, 2]], `step ${step}`);
      }
    }
  }
});

test('in the kernel: what it needs of optmem_max', { skip: skip || whyNoOptmem() }, () => {
  const tables = [without(4), without(4, 2), without(128, 5, 77), { workers: 128, live: [1, 3, 5, 90] }];
  const candidates = tables.map((table) => generateByAddress(table, 1));
  assertEstimates(optmemFor(candidates), candidates);
});
