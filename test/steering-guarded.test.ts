// SPDX-License-Identifier: Apache-2.0
// Guarded programs: who is written into the slots gets nothing, and nobody else notices.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveConstant, MAX_INSTRUCTIONS, type Program } from '../lib/steering/bpf';
import { type Guarded, guarded, guardedPrograms, MAX_SLOTS, NOBODY } from '../lib/steering/guarded';
import { run } from '../lib/steering/interpreter';
import { generate, type SteeringTable, smallerProgram } from '../lib/steering/program';
import {
  dice,
  expected,
  fraction,
  kernelBytes,
  patched,
  pick,
  randomTable,
  surprise,
  worstTable,
} from './steering-helper';
import { assertEstimates, optmemFor, whyNoOptmem } from './support/optmem';
import { attach, group, observe, skip } from './support/reuseport-group';

const indexesOf = (table: SteeringTable): number[] => table.sockets.map(({ index }) => index);

const must = (result: Guarded | undefined): Guarded => result ?? assert.fail('no guarded program');

/** `n` of these, in an order of their own. */
function some(from: readonly number[], n: number, random: () => number): number[] {
  const left = [...from];
  return Array.from({ length: n }, () => left.splice(pick(random, left.length), 1)[0] as number);
}

/** A table with at least two live sockets. */
function tableOf(random: () => number, most = 128): SteeringTable {
  for (;;) {
    const shape = {
      cpus: 1 + pick(random, most),
      sockets: 2 + pick(random, most - 1),
      live: fraction(random),
    };
    const table = randomTable(random, shape);
    if (table.sockets.length > 1) return table;
  }
}

/** With these sockets in the slots: what each gets, from what it would get and what the table's even draws bring. */
function expectedGuarded(
  table: SteeringTable,
  { slots }: Guarded,
  blocked: readonly number[],
  safe: number,
  of: ReadonlyMap<number, number>,
): Map<number, number> {
  const free = indexesOf(table).filter((index) => !blocked.includes(index));
  let missing = blocked.reduce((sum, index) => sum + (of.get(index) ?? 0), 0);
  const result = new Map(free.map((index) => [index, of.get(index) ?? 0]));
  const give = (index: number, share: number) => result.set(index, (result.get(index) ?? 0) + share);
  for (let draw = 1; draw < (slots[0]?.length ?? 0); draw++) {
    for (const index of free) give(index, missing / table.sockets.length);
    missing *= blocked.length / table.sockets.length;
  }
  give(safe, missing);
  return result;
}

test('with empty slots it gives what the lean program gives, from the same random numbers', () => {
  const random = dice(31);
  for (let i = 0; i < 400; i++) {
    const table = tableOf(random);
    for (const step of [0, 1, 2, 3]) {
      const result = guarded(table, step);
      if (!result) continue;
      const lean = smallerProgram(table, step) as Program;
      for (let k = 0; k < 50; k++) {
        const seed = random();
        const facts = { cpu: pick(random, 140), ifindex: [undefined, 1, 2][pick(random, 3)] };
        assert.equal(
          run(result.program, { ...facts, random: dice(seed) }).result,
          run(lean, { ...facts, random: dice(seed) }).result,
          `step ${step}`,
        );
      }
    }
  }
});

test('none, one, several, too many blocked: never one that is in a slot, always a live one', () => {
  const random = dice(32);
  let cases = 0;
  for (let i = 0; i < 1500; i++) {
    const table = tableOf(random);
    const indexes = indexesOf(table);
    const n = indexes.length;
    const count = [0, 1, 1 + pick(random, n - 1), n - 1][pick(random, 4)] as number;
    const blocked = some(indexes, count, random);
    const safe = indexes.find((index) => !blocked.includes(index)) as number;
    for (const { guarded: result } of guardedPrograms(table)) {
      const program = patched(result, blocked, safe);
      const held = blocked.slice(0, result.slots.length);
      for (let k = 0; k < 25; k++, cases++) {
        const ifindex = [undefined, 1, 2][pick(random, 3)];
        const got = run(program, { cpu: pick(random, 140), ifindex, random }).result;
        assert.ok(indexes.includes(got) && !held.includes(got), `${got}, blocked ${held}`);
      }
    }
  }
  assert.ok(cases > 100_000, `${cases} cases`);
});

test('what the blocked ones would have got is spread over the others, who keep what they had', () => {
  const random = dice(33);
  const scores: number[] = [];
  for (let round = 0; round < 60; round++) {
    const table = tableOf(random, 24);
    const indexes = indexesOf(table);
    const result = must(guarded(table));
    const blocked = some(indexes, 1 + pick(random, result.slots.length), random);
    const safe = some(
      indexes.filter((index) => !blocked.includes(index)),
      1,
      random,
    )[0] as number;
    const program = patched(result, blocked, safe);
    // a program that does not look at the CPU does not look at the interface either
    const byCpu = [...table.own.values()].some(({ index, keep }) => keep > 0 && indexes.includes(index));
    for (const [cpu, ifindex] of [
      [0, 2],
      [1, 2],
      [200, 2],
      [0, byCpu ? 1 : 2],
    ] as const) {
      const due = expectedGuarded(table, result, blocked, safe, expected(table, cpu, ifindex));
      const counts = new Map<number, number>();
      for (let i = 0; i < 2000; i++) {
        const got = run(program, { cpu, ifindex, random }).result;
        counts.set(got, (counts.get(got) ?? 0) + 1);
      }
      scores.push(surprise(counts, due, 2000));
    }
  }
  assert.ok(Math.max(...scores) < 5, `largest surprise ${Math.max(...scores)}`);
});

test('two of four blocked: the draws leave the safe socket little more than the other', () => {
  const sockets = [1, 2, 3, 4].map((index) => ({ index, weight: 1 }));
  const table = { sockets, own: new Map(), loopbackEven: false };
  const due = expectedGuarded(table, must(guarded(table)), [1, 2], 3, expected(table, 0, 2));
  assert.ok((due.get(3) as number) <= 0.54, `${due.get(3)}`);
});

test('as many slots as sockets but one, sixteen at most; every slot is compared after each draw', () => {
  for (const n of [2, 3, 5, 9, 17, 18, 128]) {
    const { program, slots, safe } = must(guarded(worstTable(n)));
    assert.equal(slots.length, Math.min(n - 1, MAX_SLOTS));
    for (const offsets of slots) {
      assert.ok(offsets.length >= 2);
      for (const at of offsets) assert.deepEqual([program[at]?.code, program[at]?.k], [0x15, NOBODY]);
    }
    assert.deepEqual([program[safe]?.code, program[safe]?.k], [0, 1]);
    const constants = program.filter(({ code, k }) => code === 0x15 && k === NOBODY);
    assert.equal(constants.length, slots.flat().length);
  }
});

test('with nobody to go to there is no guarded program', () => {
  const one = { sockets: [{ index: 3, weight: 1 }], own: new Map(), loopbackEven: false };
  assert.equal(guarded(one), undefined);
  assert.deepEqual([...guardedPrograms(one)], []);
  assert.deepEqual(generate(one), [giveConstant(3)]);
  const scattered = { ...one, sockets: [1, 3, 5].map((index) => ({ index, weight: 1 })) };
  assert.deepEqual(
    [...guardedPrograms(scattered)].map(({ step }) => step),
    [0, 1, 2],
    'the longest run is one socket',
  );
  assert.deepEqual([...guardedPrograms(scattered, 4)], []);
  assert.throws(() => guarded({ ...one, sockets: [] }), /without a live socket/);
});

test('128 CPUs x 128 sockets: it fits into 20,480 bytes of optmem_max, and paths stay short', () => {
  const result = must(guarded(worstTable(128)));
  assert.ok(result.program.length < 2000, `${result.program.length} instructions`);
  assert.ok(kernelBytes(result.program) <= 20_480, `${kernelBytes(result.program)} bytes`);
  const random = dice(34);
  const blocked = some(indexesOf(worstTable(128)), MAX_SLOTS, random);
  const safe = indexesOf(worstTable(128)).find((index) => !blocked.includes(index)) as number;
  const program = patched(result, blocked, safe);
  let longest = 0;
  for (let i = 0; i < 40_000; i++)
    longest = Math.max(
      longest,
      run(program, { cpu: pick(random, 130), ifindex: pick(random, 3), random }).steps,
    );
  assert.ok(longest <= 80, `longest path ${longest}`);
});

test('a table too large for one has a smaller one', () => {
  const steps = (n: number, from?: number) =>
    [...guardedPrograms(worstTable(n), from)].map(({ guarded: { program }, step }) => {
      assert.ok(program.length <= MAX_INSTRUCTIONS);
      return step;
    });
  assert.deepEqual(steps(128), [0, 1, 2]);
  assert.deepEqual(steps(128, 2), [2]);
  assert.ok(generate(worstTable(400)).length < MAX_INSTRUCTIONS);
  assert.deepEqual(steps(400), [2]);
  assert.deepEqual(steps(3000), []);
});

test('in the kernel: who is blocked gets nothing, until the slots are empty again', { skip }, async (t) => {
  const target = group(t, 7);
  const random = dice(35);
  const sockets = [1, 2, 4, 5, 6].map((index) => ({ index, weight: index }));
  const own = new Map([0, 1].map((cpu) => [cpu, { index: cpu + 1, keep: 0.4 }]));
  const table: SteeringTable = { sockets, own, loopbackEven: true };
  const result = must(guarded(table));
  const due = (blocked: readonly number[], safe: number) =>
    expectedGuarded(table, result, blocked, safe, expected(table, 0, 1));
  for (const blocked of [[], [4], [1, 6], [1, 2, 4, 5], []]) {
    const free = indexesOf(table).filter((index) => !blocked.includes(index));
    const safe = some(free, 1, random)[0] as number;
    attach(target, patched(result, blocked, safe));
    const counts = await observe(target, 400);
    assert.ok(surprise(counts, due(blocked, safe), 400) < 4, `blocked ${blocked}: ${[...counts]}`);
  }
});

test('in the kernel: 128 x 128 with sixteen blocked', { skip }, async (t) => {
  const target = group(t, 256);
  const table = worstTable(128);
  const blocked = indexesOf(table).slice(0, MAX_SLOTS);
  const result = must(guarded(table));
  attach(target, patched(result, blocked, 101));
  const counts = await observe(target, 2000);
  const due = expectedGuarded(table, result, blocked, 101, expected(table, 0, 1));
  assert.ok(surprise(counts, due, 2000) < 4, `${[...counts]}`);
});

test('in the kernel: what it needs of optmem_max', { skip: skip || whyNoOptmem() }, () => {
  const candidates = [...guardedPrograms(worstTable(128))].map(({ guarded: { program } }) => program);
  const needed = optmemFor(candidates);
  assert.ok((needed[0] as number) <= 20_480, String(needed));
  assertEstimates(needed, candidates);
});
