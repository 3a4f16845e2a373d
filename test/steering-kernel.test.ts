// SPDX-License-Identifier: Apache-2.0
// The generated programs on real reuseport groups: the kernel must choose what the interpreter says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadAbsolute, mask, NET, type Program } from '../lib/steering/bpf';
import { run } from '../lib/steering/interpreter';
import { generate, programs, type SteeringTable, smallerProgram } from '../lib/steering/program';
import { dice, expected, fraction, pick, randomTable, surprise, worstTable } from './steering-helper';
import { assertEstimates, optmemFor, whyNoOptmem } from './support/optmem';
import { addon, attach, group, observe, skip } from './support/reuseport-group';

/**
 * The program with the CPU played by the last byte of the client's address, so that two CPUs suffice
 * for a table of 128: the load of the CPU, which must be the first instruction, becomes two.
 */
function played(program: Program): Program {
  assert.deepEqual(program[0], loadAbsolute(0xfffff000 + 36));
  return [loadAbsolute(NET + 12), mask(0xff), ...program.slice(1)];
}

const address = (cpu: number): string => `127.77.1.${cpu}`;

/** What the interpreter does with the same table, often. */
function simulate(program: Program, cpu: number, n: number, random: () => number): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < n; i++) {
    const { result } = run(program, { cpu, ifindex: 1, random });
    counts.set(result, (counts.get(result) ?? 0) + 1);
  }
  return counts;
}

/** Same support and, by chi-square, same shares as the interpreter's and the table's. */
function compare(
  seen: Map<number, number>,
  program: Program,
  table: SteeringTable,
  cpu: number,
  n: number,
  random: () => number,
): number {
  const simulated = simulate(program, cpu, 20 * n, random);
  for (const index of seen.keys())
    assert.ok(
      simulated.has(index) || (expected(table, cpu, 1).get(index) ?? 0) > 0,
      `CPU ${cpu}: socket ${index}`,
    );
  return surprise(seen, expected(table, cpu, 1), n);
}

test('a group of 4: every kind of table, CPU by CPU', { skip }, async (t) => {
  const target = group(t, 4);
  const random = dice(21);
  let worst = 0;
  for (let round = 0; round < 8; round++) {
    const table: SteeringTable = {
      ...randomTable(random, { cpus: 4, sockets: 3, live: 0.8 }),
      loopbackEven: false,
    };
    const program = generate(table);
    if (program[0]?.k !== 0xfffff000 + 36) continue;
    attach(target, played(program));
    for (let cpu = 0; cpu < 6; cpu++) {
      const seen = await observe(target, 100, address(cpu));
      worst = Math.max(worst, compare(seen, program, table, cpu, 100, random));
    }
  }
  assert.ok(worst < 5, `largest surprise ${worst}`);
});

test('a group of 129: 128 CPUs, each with its own probability, and a weighted pool', { skip }, async (t) => {
  const target = group(t, 129);
  const random = dice(22);
  const sockets = Array.from({ length: 128 }, (_, i) => ({
    index: i + 1,
    weight: i % 9 === 4 ? 0 : 1 + pick(random, 100),
  }));
  const keep = (cpu: number): number => (cpu % 5 === 0 ? 1 : cpu % 11 === 0 ? 0 : fraction(random));
  const own = new Map(sockets.map(({ index }, cpu) => [cpu, { index, keep: keep(cpu) }]));
  const table: SteeringTable = { sockets, own, loopbackEven: false };
  const program = generate(table);
  attach(target, played(program));
  const total = new Map<number, number>();
  const due = new Map<number, number>();
  let worst = 0;
  for (let cpu = 0; cpu < 128; cpu++) {
    const seen = await observe(target, 60, address(cpu));
    worst = Math.max(worst, compare(seen, program, table, cpu, 60, random));
    for (const [index, count] of seen) total.set(index, (total.get(index) ?? 0) + count);
    for (const [index, p] of expected(table, cpu, 1)) due.set(index, (due.get(index) ?? 0) + p / 128);
  }
  assert.ok(worst < 5, `largest surprise of a CPU ${worst}`);
  // the sum of draws from 128 urns varies less than as many from one: only too much of it is a fault
  const overall = surprise(total, due, 128 * 60);
  assert.ok(overall < 5, `over all sockets ${overall}`);
  assert.equal(total.has(0), false, 'the origin got none');
});

test('the real CPU: a connection goes to the worker of the CPU that its SYN is sent from', {
  skip,
}, async (t) => {
  const cpus = addon.getAffinity(0) as number[];
  if (cpus.length < 2) return t.skip('one CPU only');
  const own = new Map(cpus.map((cpu, i) => [cpu, { index: i + 1, keep: 1 }]));
  const sockets = cpus.map((_, i) => ({ index: i + 1, weight: 1 }));
  const target = group(t, cpus.length + 1);
  t.after(() => addon.restoreThread());
  // Over loopback the softirq runs where the sender runs, unless RPS says otherwise.
  const go = async (cpu: number, table: SteeringTable) => {
    attach(target, generate(table));
    assert.ok(addon.pinEventLoop(cpu) >= 0);
    return observe(target, 300);
  };
  for (const [cpu, { index }] of own) {
    assert.deepEqual(
      await go(cpu, { sockets, own, loopbackEven: false }),
      new Map([[index, 300]]),
      `CPU ${cpu}`,
    );
  }
  const [cpu] = cpus as [number];
  const even = await go(cpu, { sockets, own, loopbackEven: true });
  assert.ok(
    surprise(even, expected({ sockets, own, loopbackEven: true }, cpu, 1), 300) < 4,
    'loopback is spread evenly',
  );
});

test('the smaller programs work as well', { skip }, async (t) => {
  const target = group(t, 6);
  const sockets = [1, 3, 4].map((index) => ({ index, weight: 1 }));
  const table: SteeringTable = { sockets, own: new Map([[0, { index: 1, keep: 0.3 }]]), loopbackEven: true };
  const keys = async (step: number) => {
    attach(target, smallerProgram(table, step) ?? assert.fail());
    return [...(await observe(target, 100)).keys()].sort();
  };
  assert.deepEqual(await keys(2), [1, 3, 4]);
  assert.deepEqual(await keys(3), [3, 4]);
  assert.deepEqual(await keys(4), [1]);
});

test('128 x 128 needs no more than 20,480 bytes of optmem_max, smaller programs ever less', {
  skip: skip || whyNoOptmem(),
}, () => {
  const candidates = [...programs(worstTable(128))].map(({ program }) => program);
  const needed = optmemFor(candidates);
  assert.ok((needed[0] as number) <= 20_480, String(needed));
  assertEstimates(needed, candidates);
});
