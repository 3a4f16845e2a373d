// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import { test } from 'node:test';
import {
  AD_RANDOM,
  branch,
  branchEqual,
  copyToX,
  giveConstant,
  type Instruction,
  LD_ABS,
  loadAbsolute,
  loadConstant,
  loadMemory,
  MAX_INSTRUCTIONS,
  type Program,
  shiftRightByX,
  verify,
} from '../lib/steering/bpf';
import { run } from '../lib/steering/interpreter';
import { encode, generate, programs, type SteeringTable, smallerProgram } from '../lib/steering/program';
import {
  dice,
  expected,
  fraction,
  kernelBytes,
  pick,
  randomTable,
  surprise,
  worstTable,
} from './steering-helper';

const ETH = 2;
const LO = 1;

const table = (
  indexes: number[],
  own: [number, number, number][] = [],
  loopbackEven = false,
): SteeringTable => ({
  sockets: indexes.map((index) => ({ index, weight: 1 })),
  own: new Map(own.map(([cpu, index, keep]) => [cpu, { index, keep }])),
  loopbackEven,
});

function draw(
  program: Program,
  cpu: number,
  ifindex: number,
  n: number,
  random: () => number,
): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < n; i++) {
    const { result } = run(program, { cpu, ifindex, random });
    counts.set(result, (counts.get(result) ?? 0) + 1);
  }
  return counts;
}

test('100,000 random cases: the result is always a live socket, and one that the table allows', () => {
  const random = dice(1);
  let cases = 0;
  while (cases < 100_000) {
    const shape = { cpus: 1 + pick(random, 130), sockets: 1 + pick(random, 130), live: fraction(random) };
    const random100 = randomTable(random, shape);
    const program = generate(random100);
    for (let i = 0; i < 100; i++, cases++) {
      const cpu = pick(random, shape.cpus + 20);
      const ifindex = pick(random, 4);
      const { result } = run(program, { cpu, ifindex, random });
      const p = expected(random100, cpu, ifindex).get(result);
      assert.ok(p !== undefined && p > 0, `socket ${result} on CPU ${cpu}, interface ${ifindex}`);
    }
  }
});

test('shares are those of the table, CPU by CPU', () => {
  const random = dice(2);
  const scores: number[] = [];
  for (let round = 0; round < 40; round++) {
    const shape = { cpus: 1 + pick(random, 12), sockets: 1 + pick(random, 12), live: 0.8 };
    const wanted = randomTable(random, shape);
    const program = generate(wanted);
    for (let cpu = 0; cpu < shape.cpus + 2; cpu++) {
      for (const ifindex of [ETH, LO])
        scores.push(
          surprise(draw(program, cpu, ifindex, 2000, random), expected(wanted, cpu, ifindex), 2000),
        );
    }
  }
  // About normal, fixed seed: none of some hundred beyond 5, their mean near 0.
  assert.ok(scores.length > 400);
  assert.ok(Math.max(...scores) < 5, `largest surprise ${Math.max(...scores)}`);
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  assert.ok(Math.abs(mean) < 0.2, `mean surprise ${mean}`);
});

test('128 CPUs x 128 sockets: below 2,000 instructions, and it fits into 20,480 bytes of optmem_max', () => {
  const wanted = worstTable(128);
  const program = generate(wanted);
  assert.ok(program.length < 2000, `${program.length} instructions`);
  assert.ok(kernelBytes(program) < 20_480, `${kernelBytes(program)} bytes`);
  const random = dice(3);
  let longest = 0;
  for (let i = 0; i < 20_000; i++)
    longest = Math.max(
      longest,
      run(program, { cpu: pick(random, 130), ifindex: pick(random, 3), random }).steps,
    );
  assert.ok(longest <= 32, `longest path ${longest}`);
  const scores = [0, 1, 63, 64, 127, 200].map((cpu) =>
    surprise(draw(program, cpu, ETH, 20_000, random), expected(wanted, cpu, ETH), 20_000),
  );
  assert.ok(Math.max(...scores) < 5, String(scores));
});

test('larger still: what does not fit into 4,096 instructions is refused, and the smaller programs do', () => {
  assert.ok(generate(worstTable(256)).length < 2500);
  assert.throws(() => generate(worstTable(512)), /program of \d+ instructions; 1 to 4096 are allowed/);
  const steps = (n: number) =>
    [...programs(worstTable(n))].map(({ program, step }) => {
      assert.ok(program.length <= MAX_INSTRUCTIONS);
      return step;
    });
  assert.deepEqual(steps(128), [0, 1, 2, 3, 4]);
  assert.deepEqual(steps(512), [1, 2, 3, 4]);
  assert.deepEqual(steps(3000), [3, 4]);
});

test('even over indexes with gaps is exactly even, place by place', () => {
  for (const indexes of [[1], [1, 2], [1, 3], [2, 3, 4, 7, 9, 10], [0, 1, 5], [1, 2, 3, 4, 5, 6, 7, 9]]) {
    const program = generate(table(indexes));
    const got = indexes.map(
      (_, place) => run(program, { cpu: 0, random: () => place + indexes.length * 1000 }).result,
    );
    assert.deepEqual(got, indexes);
  }
  const oneGap = Array.from({ length: 127 }, (_, i) => (i < 50 ? i + 1 : i + 2));
  assert.ok(generate(table(oneGap)).length < 10);
});

test('CPU i -> worker i + 1 needs no tree; a dead one in the middle costs little', () => {
  const all = Array.from({ length: 64 }, (_, i) => i);
  const straight = table(
    all.map((i) => i + 1),
    all.map((cpu) => [cpu, cpu + 1, 1]),
  );
  const program = generate(straight);
  assert.ok(program.length <= 10, `${program.length} instructions`);
  for (const cpu of all) assert.equal(run(program, { cpu, ifindex: ETH, random: () => 0 }).result, cpu + 1);
  const alive = all.filter((i) => i !== 30);
  const hole = generate(
    table(
      alive.map((i) => i + 1),
      all.map((cpu) => [cpu, cpu + 1, 1]),
    ),
  );
  for (const cpu of alive) assert.equal(run(hole, { cpu, ifindex: ETH, random: () => 7 }).result, cpu + 1);
  assert.notEqual(run(hole, { cpu: 30, ifindex: ETH, random: dice(4) }).result, 31);
});

test('CPUs beyond and between those of the table go to the pool', () => {
  const program = generate(
    table(
      [1, 2, 3],
      [
        [2, 1, 1],
        [5, 2, 1],
      ],
    ),
  );
  for (const cpu of [0, 1, 3, 4, 6, 7, 1000, 0xffffffff]) {
    const counts = draw(program, cpu, ETH, 600, dice(cpu));
    assert.deepEqual([...counts.keys()].sort(), [1, 2, 3], `CPU ${cpu}`);
  }
  assert.deepEqual([...draw(program, 2, ETH, 50, dice(1)).keys()], [1]);
  assert.deepEqual([...draw(program, 5, ETH, 50, dice(1)).keys()], [2]);
});

test('own socket with a probability: the thresholds are where they should be', () => {
  const quarter = generate(table([1, 2], [[0, 1, 0.25]]));
  const at = (value: number) => run(quarter, { cpu: 0, ifindex: ETH, random: () => value });
  assert.equal(at(2 ** 30 - 1).result, 1);
  assert.notEqual(at(2 ** 30).steps, at(2 ** 30 - 1).steps, 'the pool draws again');
  for (const keep of [Number.MIN_VALUE, 2 ** -32, 1 - 2 ** -33, 1 - 2 ** -32]) {
    const program = generate(table([1, 2], [[0, 1, keep]]));
    for (const value of [0, 1, 2 ** 32 - 1])
      assert.ok([1, 2].includes(run(program, { cpu: 0, ifindex: ETH, random: () => value }).result));
  }
});

test('a weight that rounds to nothing is never chosen, and the edges of the random range are covered', () => {
  const weights = [0, 1e-12, 1, 1e-12, 3, 0];
  const sockets = weights.map((weight, i) => ({ index: i + 1, weight }));
  const program = generate({ sockets, own: new Map(), loopbackEven: false });
  const at = (value: number) => run(program, { cpu: 0, ifindex: ETH, random: () => value }).result;
  assert.equal(at(0), 3);
  assert.equal(at(2 ** 30 - 1), 3);
  assert.equal(at(2 ** 30), 5);
  assert.equal(at(2 ** 32 - 1), 5);
});

test('no weight at all: the pool is even', () => {
  const sockets = [1, 2, 4].map((index) => ({ index, weight: 0 }));
  const counts = draw(generate({ sockets, own: new Map(), loopbackEven: false }), 0, ETH, 3000, dice(5));
  assert.ok(
    surprise(
      counts,
      new Map([
        [1, 1 / 3],
        [2, 1 / 3],
        [4, 1 / 3],
      ]),
      3000,
    ) < 4,
  );
});

test('loopback skips the per-CPU part and is even, whatever the pool is', () => {
  const sockets = [1, 2, 5].map((index) => ({ index, weight: index === 5 ? 1 : 0 }));
  const own = new Map([
    [0, { index: 1, keep: 1 }],
    [1, { index: 2, keep: 1 }],
  ]);
  const program = generate({ sockets, own, loopbackEven: true });
  assert.deepEqual([...draw(program, 0, ETH, 100, dice(6)).keys()], [1]);
  const third = new Map([
    [1, 1 / 3],
    [2, 1 / 3],
    [5, 1 / 3],
  ]);
  for (const cpu of [0, 1, 7]) assert.ok(surprise(draw(program, cpu, LO, 3000, dice(cpu)), third, 3000) < 4);
  assert.equal(
    run(program, { cpu: 0, ifindex: undefined, random: dice(7) }).result,
    1,
    'no interface: still a live one',
  );
  const noLoopback = generate({ sockets, own, loopbackEven: false });
  assert.deepEqual([...draw(noLoopback, 0, LO, 100, dice(6)).keys()], [1]);
});

test('a table of one socket is one instruction', () => {
  assert.deepEqual(generate(table([0])), [giveConstant(0)]);
  assert.deepEqual(generate(table([7], [], true)), [giveConstant(7)]);
});

test('the order of sockets in the table does not matter', () => {
  assert.deepEqual(generate(table([3, 1, 2], [[0, 1, 0.5]])), generate(table([1, 2, 3], [[0, 1, 0.5]])));
});

test('tables that make no sense are refused', () => {
  const bad = (part: Partial<SteeringTable>) => () => generate({ ...table([1]), ...part });
  assert.throws(bad({ sockets: [] }), /without a live socket/);
  for (const index of [-1, 1.5, 70_000])
    assert.throws(bad({ sockets: [{ index, weight: 1 }] }), /socket index/);
  for (const weight of [-1, NaN, Infinity]) assert.throws(bad({ sockets: [{ index: 1, weight }] }), /weight/);
  for (const keep of [-0.1, 1.1, NaN])
    assert.throws(bad({ own: new Map([[0, { index: 1, keep }]]) }), /probability/);
  for (const cpu of [-1, 0.5]) assert.throws(bad({ own: new Map([[cpu, { index: 1, keep: 1 }]]) }), /CPU/);
  assert.throws(() => smallerProgram({ ...table([1]), sockets: [] }), /without a live socket/);
});

test('smaller programs: each fits where the one before did not, all give live sockets, then there is none', () => {
  const random = dice(8);
  const worst = worstTable(128);
  const wanted = { ...worst, sockets: [...worst.sockets, { index: 256, weight: 3 }] };
  const sizes = [kernelBytes(generate(wanted))];
  for (let step = 1; ; step++) {
    const program = smallerProgram(wanted, step);
    if (!program) break;
    verify(program);
    sizes.push(kernelBytes(program));
    for (let i = 0; i < 2000; i++) {
      const { result } = run(program, { cpu: pick(random, 140), ifindex: pick(random, 3), random });
      assert.ok(
        wanted.sockets.some(({ index }) => index === result),
        `step ${step}: ${result}`,
      );
    }
  }
  assert.equal(sizes.length, 5);
  for (let i = 1; i < sizes.length; i++)
    assert.ok((sizes[i] as number) < (sizes[i - 1] as number), String(sizes));
  assert.deepEqual(smallerProgram(table([3, 4])), smallerProgram(table([3, 4]), 1));
  assert.throws(() => [...programs({ ...wanted, sockets: [] })], /without a live socket/);
});

test('smaller programs: own socket or pool, then even, then the longest run, then one', () => {
  const wanted = {
    ...table(
      [1, 3, 4, 5, 9],
      [
        [0, 1, 0.9],
        [1, 3, 0.2],
        [2, 9, 0.5],
      ],
    ),
    loopbackEven: true,
  };
  const keys = (step: number, cpu: number) =>
    [...draw(smallerProgram(wanted, step) ?? [], cpu, ETH, 500, dice(step)).keys()].sort((a, b) => a - b);
  assert.deepEqual(keys(1, 0), [1]);
  assert.deepEqual(keys(1, 1), [1, 3, 4, 5, 9]);
  assert.deepEqual(keys(1, 2), [9]);
  assert.deepEqual(keys(2, 0), [1, 3, 4, 5, 9]);
  assert.deepEqual(keys(3, 0), [3, 4, 5]);
  assert.deepEqual(keys(4, 0), [1]);
  assert.equal(smallerProgram(wanted, 5), undefined);
});

test('encoding is packed struct sock_filter in the byte order of the machine', () => {
  const program = generate(table([1, 2, 3], [[0, 1, 0.5]]));
  const bytes = encode(program);
  assert.equal(bytes.length, program.length * 8);
  const view = new DataView(bytes.buffer);
  const little = endianness() === 'LE';
  program.forEach(({ code, jt, jf, k }, i) => {
    assert.deepEqual(
      [view.getUint16(i * 8, little), bytes[i * 8 + 2], bytes[i * 8 + 3], view.getUint32(i * 8 + 4, little)],
      [code, jt, jf, k],
    );
  });
});

test('far branches go by a trampoline', () => {
  const long = (n: number): Instruction[] => [
    ...Array.from({ length: n - 1 }, () => loadAbsolute(AD_RANDOM)),
    giveConstant(1),
  ];
  for (const n of [1, 254, 255, 256, 300, 1000]) {
    const program = branch(10, long(n), [giveConstant(2)]);
    verify([loadAbsolute(AD_RANDOM), ...program]);
    const result = (a: number) =>
      run([loadAbsolute(0xfffff000 + 36), ...program], { cpu: a, random: () => 0 }).result;
    assert.deepEqual([result(9), result(10), result(0xffffffff)], [1, 2, 2], `length ${n}`);
    const equal = branchEqual(10, long(n), [giveConstant(2)]);
    const same = (a: number) =>
      run([loadAbsolute(0xfffff000 + 36), ...equal], { cpu: a, random: () => 0 }).result;
    assert.deepEqual([same(9), same(10), same(11)], [2, 1, 2], `length ${n}`);
  }
});

test('verify: bounds of jumps, the end, the size, unknown codes', () => {
  const jge = (jt: number, jf: number): Instruction => ({ code: 0x35, jt, jf, k: 0 });
  const ja = (k: number): Instruction => ({ code: 0x05, jt: 0, jf: 0, k });
  const ret = giveConstant(0);
  verify([jge(0, 1), ret, ret]);
  const bad: [Program, RegExp][] = [
    [[], /0 instructions/],
    [[jge(1, 0), ret], /instruction 0: jumps off/],
    [[jge(0, 1), ret], /instruction 0: jumps off/],
    [[ja(1), ret], /jumps off/],
    [[ja(0)], /jumps off/],
    [[loadAbsolute(AD_RANDOM)], /falls off/],
    [[jge(256, 0), ...Array.from({ length: 300 }, () => ret)], /8 bits/],
    [[{ code: 0x94, jt: 0, jf: 0, k: 0 }, ret], /divides by zero/],
    [[{ code: 0x81, jt: 0, jf: 0, k: 0 }, ret], /code 0x81/],
    [[{ code: 0x74, jt: 0, jf: 0, k: 32 }, ret], /shifts by 32/],
    [[{ code: 0x02, jt: 0, jf: 0, k: 16 }, ret], /no word 16/],
    [[{ code: 0x45, jt: 1, jf: 0, k: 1 }, ret], /jumps off/],
    [[giveConstant(2 ** 32)], /operand/],
    [[giveConstant(-1)], /operand/],
    [Array.from({ length: 4097 }, () => ret), /4097 instructions/],
  ];
  for (const [program, message] of bad) assert.throws(() => verify(program), message);
});

test('the interpreter throws on what the generator does not use', () => {
  const facts = { cpu: 0, random: () => 0 };
  assert.throws(() => run([{ code: 0x81, jt: 0, jf: 0, k: 0 }], facts), /code 0x81/);
  assert.throws(() => run([loadMemory(3), giveConstant(1)], facts), /code 0x60/, 'never written');
  assert.throws(
    () => run([loadConstant(32), copyToX(), shiftRightByX()], facts),
    /code 0x7c/,
    'shifts by 32',
  );
  assert.throws(() => run([{ code: LD_ABS, jt: 0, jf: 0, k: 12 }], facts), /load from 0xc/);
  assert.throws(() => run([{ code: 0x05, jt: 0, jf: 0, k: 5 }], facts), /ran off/);
});
