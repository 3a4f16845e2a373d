// SPDX-License-Identifier: Apache-2.0
// Workers that are due more or less than a fair share: tables and programs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecast } from '../lib/steering/forecast';
import { run } from '../lib/steering/interpreter';
import { decide, type PolicyInput, type TableDecision } from '../lib/steering/policy';
import { generate, programs, type SteeringTable } from '../lib/steering/program';
import { dice, expected, kernelBytes, pick, surprise, worstTable } from './steering-helper';

const LO = 1;
const ETH = 2;

function ask(n: number, input: Partial<PolicyInput> & { mode?: 'auto' | 'cpu' | 'hash' }): TableDecision {
  const workers = Array.from({ length: n }, (_, i) => ({ index: i + 1, cpu: i, live: true }));
  return decide({ mode: 'auto', workers, arrivals: [], seats: n + 1, ...input });
}

/** What each gets of these arrivals, in fair shares. */
function got({ table }: TableDecision, arrivals: readonly number[]): number[] {
  const total = arrivals.reduce((a, b) => a + b, 0);
  const { share } = forecast(
    table,
    arrivals.map((each) => each / total),
    new Map(),
  );
  return [...share.values()].map((each) => Number((each * table.sockets.length).toFixed(3)));
}

const EVEN = [4_000, 4_000, 4_000, 4_000];
const factors = (...of: number[]): number[] => [1, ...of];

test('by chance: as much as each is due', () => {
  const decision = ask(4, { factors: factors(0.4, 1, 1, 1.6) });
  assert.deepEqual([decision.kind, decision.table.loopbackEven], ['even', false]);
  assert.deepEqual(got(decision, [1]), [0.4, 1, 1, 1.6]);
  assert.equal(
    decision.note,
    'by chance over 4 workers: 0 of 200 arrivals seen; shares 0.40 to 1.60 of the fair one',
  );
});

test('by CPU: who is due less keeps less of its own, who is due more gets it, the others keep all', () => {
  const decision = ask(4, { arrivals: EVEN, factors: factors(0.5, 1, 1, 1.5) });
  assert.deepEqual(got(decision, EVEN), [0.5, 1, 1, 1.5]);
  assert.deepEqual(
    [...decision.table.own.values()].map(({ keep }) => keep),
    [0.5, 1, 1, 1],
  );
  assert.match(decision.note, /^by CPU, 88 % local: .*; shares 0\.50 to 1\.50 of the fair one$/);
});

test('by CPU: only the proportion of factors counts, and all the same is the table without any', () => {
  const plain = ask(4, { arrivals: EVEN });
  for (const factor of [0.1, 0.7, 1, 3])
    assert.deepEqual(
      ask(4, { arrivals: EVEN, factors: factors(factor, factor, factor, factor) }).table,
      plain.table,
    );
  assert.deepEqual(
    ask(4, { arrivals: EVEN, factors: factors(0.5, 1, 1, 1) }).table,
    ask(4, { arrivals: EVEN, factors: factors(1, 2, 2, 2) }).table,
  );
});

test('two queues: what the two give away goes to the others as much as they are due', () => {
  const arrivals = [8_000, 0, 8_000, 0];
  const decision = ask(4, { arrivals, factors: factors(0.5, 1, 1, 1.5) });
  assert.deepEqual(got(decision, arrivals), [0.5, 1, 1, 1.5]);
});

test('everything on one CPU: by chance, as much as each is due', () => {
  const arrivals = [20_000];
  const decision = ask(4, { arrivals, factors: factors(0.5, 1, 1, 1.5) });
  assert.equal(decision.kind, 'even');
  assert.deepEqual(got(decision, arrivals), [0.5, 1, 1, 1.5]);
});

test('cpu and hash take no notice', () => {
  for (const mode of ['cpu', 'hash'] as const)
    assert.deepEqual(
      ask(4, { mode, arrivals: EVEN, factors: factors(0.1, 1, 1, 3) }).table,
      ask(4, { mode, arrivals: EVEN }).table,
    );
});

test('a table is replaced when somebody is due clearly more or less, and when all are due the same again', () => {
  for (const arrivals of [[], EVEN]) {
    const first = ask(4, { arrivals, factors: factors(1, 1, 1, 1.2) });
    const little = ask(4, { arrivals, factors: factors(1, 1, 1, 1.23), previous: first });
    assert.equal(little.changed, false);
    let slow = first;
    for (let factor = 1.2; factor < 1.5; factor += 0.01)
      slow = ask(4, { arrivals, factors: factors(1, 1, 1, factor), previous: slow });
    assert.ok((got(slow, EVEN)[3] as number) > 1.25, 'many small steps are a large one');
    assert.equal(ask(4, { arrivals, factors: factors(1, 1, 1, 1.4), previous: first }).changed, true);
    const fair = ask(4, { arrivals, factors: factors(1, 1, 1, 1), previous: little });
    assert.deepEqual([fair.changed, fair.table], [true, ask(4, { arrivals }).table]);
  }
});

test('a worker that goes takes its factor with it', () => {
  const workers = [1, 2, 3].map((index) => ({ index, cpu: index - 1, live: index !== 2 }));
  const { table } = decide({ mode: 'auto', workers, arrivals: [], factors: factors(1, 3, 1), seats: 4 });
  assert.deepEqual(table.sockets, [
    { index: 1, weight: 1 },
    { index: 3, weight: 1 },
  ]);
});

const weightedLoopback = (n: number): SteeringTable => {
  const worst = worstTable(n);
  return { ...worst, sockets: worst.sockets.map((each, i) => ({ ...each, loopback: 1 + (i % 11) / 10 })) };
};

test('loopback: shares as they are due, program and table alike', () => {
  const random = dice(41);
  const { table } = ask(4, { arrivals: EVEN, factors: factors(0.5, 1, 1, 1.5) });
  for (const wanted of [table, weightedLoopback(9)]) {
    const program = generate(wanted);
    for (const ifindex of [LO, ETH]) {
      const counts = new Map<number, number>();
      for (let i = 0; i < 20_000; i++) {
        const { result } = run(program, { cpu: 0, ifindex, random });
        counts.set(result, (counts.get(result) ?? 0) + 1);
      }
      const score = surprise(counts, expected(wanted, 0, ifindex), 20_000);
      assert.ok(score < 4, `interface ${ifindex}: ${score}`);
    }
  }
});

test('loopback: all due the same costs no more than before', () => {
  const plain = worstTable(16);
  const same = { ...plain, sockets: plain.sockets.map((each) => ({ ...each, loopback: 0.7 })) };
  assert.equal(generate(same).length, generate(plain).length);
  assert.throws(
    () => generate({ ...plain, sockets: [{ index: 1, weight: 1, loopback: NaN }] }),
    /weight NaN of socket 1/,
  );
});

test('128 CPUs x 128 sockets with loopback by weight, too: it fits into 20,480 bytes, and what follows is smaller', () => {
  const random = dice(42);
  const sizes: number[] = [];
  for (const { program, step } of programs(weightedLoopback(128))) {
    sizes[step] = kernelBytes(program);
    for (let i = 0; i < 2_000; i++)
      assert.equal(run(program, { cpu: pick(random, 130), ifindex: pick(random, 3), random }).result % 2, 1);
  }
  assert.ok((sizes[0] as number) < 20_480, String(sizes));
  sizes.slice(1).forEach((size, i) => assert.ok(size <= (sizes[i] as number), String(sizes)));
});
