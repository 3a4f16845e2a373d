// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSettings, type Settings } from '../lib/config/settings';
import { assign, type CountInput, type WorkerCount, workerCount } from '../lib/cpu/count';

const MIB = 1024 * 1024;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

function counted(workers: string, pin: string, input: Partial<CountInput>): WorkerCount {
  const settings = parseSettings({ FASTSOCKET_WORKERS: workers, FASTSOCKET_PIN: pin }).settings as Settings;
  return workerCount({ settings, mask: range(8), ...input });
}

const auto = (input: Partial<CountInput>) => counted('auto', 'auto', input);

test('auto: the mask, if nothing else binds', () => {
  const result = auto({});
  assert.equal(result.count, 8);
  assert.equal(result.pinAllowed, true);
  assert.deepEqual(result.cpus, range(8));
  assert.equal(auto({ mask: [3] }).count, 1);
});

test('auto: the quota, rounded up; pinned only if it covers the workers', () => {
  const cases: [number, number, boolean][] = [
    [0.5, 1, false],
    [1, 1, true],
    [1.5, 2, false],
    [2, 2, true],
    [7.99, 8, false],
    [8, 8, true],
    [64, 8, true],
  ];
  for (const [quotaCpus, count, pinned] of cases) {
    const result = auto({ quotaCpus });
    assert.equal(result.count, count, `quota ${quotaCpus}`);
    assert.equal(result.pinAllowed, pinned, `quota ${quotaCpus}`);
  }
});

test('auto: what the memory limit holds at 1.5 times the origin each, beside the origin', () => {
  // 512 MiB, origin 100: (512 - 100) / 150 = 2.7.
  assert.equal(auto({ mask: range(64), memoryBytes: 512 * MIB, originRssBytes: 100 * MIB }).count, 2);
  assert.equal(auto({ memoryBytes: 400 * MIB, originRssBytes: 100 * MIB }).count, 2, 'exactly two');
  assert.equal(auto({ memoryBytes: 399 * MIB, originRssBytes: 100 * MIB }).count, 1);
  assert.equal(auto({ memoryBytes: 50 * MIB, originRssBytes: 100 * MIB }).count, 1, 'never below one');
  assert.equal(auto({ memoryBytes: 10_000 * MIB, originRssBytes: 100 * MIB }).count, 8);
  assert.equal(auto({ memoryBytes: 100 * MIB }).count, 8, 'size not known');
  assert.equal(auto({ memoryBytes: 100 * MIB, originRssBytes: 0 }).count, 8);
});

test('auto: the least of all bounds', () => {
  const input = { mask: range(6), quotaCpus: 3.2, memoryBytes: 1000 * MIB, originRssBytes: 100 * MIB };
  assert.equal(auto(input).count, 4);
  assert.equal(auto({ ...input, memoryBytes: 400 * MIB }).count, 2);
  assert.equal(auto({ ...input, mask: [0, 1, 2] }).count, 3);
});

test('how many share a CPU, by the CPUs that they are put on', () => {
  assert.equal(auto({}).perCpu, 1);
  assert.equal(auto({ mask: [3] }).perCpu, 1);
  assert.equal(auto({ mask: [] }).perCpu, 1, 'nothing is known');
  assert.equal(counted('2', 'auto', {}).perCpu, 1);
  assert.equal(counted('9', 'off', {}).perCpu, 2);
  assert.equal(counted('32', 'auto', {}).perCpu, 4);
  assert.equal(counted('4', '2-3,6', {}).perCpu, 2);
});

test('a number is taken as asked for; limits only forbid pinning', () => {
  const tight = { quotaCpus: 1, memoryBytes: 1, originRssBytes: 100 * MIB };
  assert.equal(counted('4', 'auto', tight).count, 4);
  assert.equal(counted('4', 'auto', tight).pinAllowed, false);
  assert.equal(counted('4', 'auto', { quotaCpus: 4 }).pinAllowed, true);
  const many = counted('9', 'auto', {});
  assert.equal(many.count, 9);
  assert.equal(many.unpinned, '9 workers on 8 CPUs');
});

test('a number that nobody has asked for says what it comes from', () => {
  const workers = { kind: 'found', n: 2, why: 'that there is room for now' } as const;
  const found = (cpus: number) =>
    workerCount({ settings: { workers, pin: { kind: 'auto' } }, mask: range(cpus) });
  assert.equal(found(2).why, 'workers 2 that there is room for now; 2 CPUs in the mask (0-1); pinned');
  assert.deepEqual([found(4).count, found(1).count, found(1).pinAllowed], [2, 2, false]);
});

test('a percentage of the mask, rounded, at least one', () => {
  const share = (percent: number, cpus: number) =>
    counted(`${percent}%`, 'auto', { mask: range(cpus), quotaCpus: 1 }).count;
  assert.equal(share(50, 8), 4);
  assert.equal(share(50, 5), 3);
  assert.equal(share(1, 8), 1);
  assert.equal(share(100, 8), 8);
  assert.equal(share(33, 4), 1);
});

test('FASTSOCKET_PIN=off: same count, not pinned, with the reason', () => {
  const result = counted('auto', 'off', {});
  assert.equal(result.count, 8);
  assert.equal(result.unpinned, 'FASTSOCKET_PIN=off');
  assert.equal(result.pinAllowed, false);
});

test('a pin list names the CPUs and bounds auto', () => {
  const result = counted('auto', '2-3,6', {});
  assert.equal(result.count, 3);
  assert.deepEqual(result.cpus, [2, 3, 6]);
  assert.equal(result.pinAllowed, true);
  assert.equal(counted('4', '2-3,6', {}).unpinned, '4 workers on 3 CPUs');
  assert.equal(counted('4', '2-3,6', {}).count, 4);
  assert.equal(counted('2', '2-3,6', {}).pinAllowed, true);
});

test('a pin list outside the mask: unpinned, and the reason names the CPUs', () => {
  const result = counted('auto', '6-9', {});
  assert.equal(result.count, 8, 'the list counts for nothing');
  assert.equal(result.pinAllowed, false);
  assert.match(result.unpinned ?? '', /outside the affinity mask \(8-9 not in 0-7\)/);
  assert.deepEqual(result.cpus, range(8));
});

test('the arithmetic is in one line', () => {
  const { why } = auto({ quotaCpus: 2.5, memoryBytes: 512 * MIB, originRssBytes: 100 * MIB });
  assert.equal(
    why,
    'workers auto: least of 8 CPUs in the mask (0-7), quota 2.5 rounded up = 3, memory (512 MiB - 100 MiB) / (1.5 x 100 MiB) = 2 = 2; pinned',
  );
  assert.match(
    counted('50%', 'off', {}).why,
    /^workers 50 % of 8 CPUs in the mask = 4; not pinned: FASTSOCKET_PIN=off$/,
  );
  assert.match(
    counted('2', '1,5', {}).why,
    /^workers 2 as asked for; 2 CPUs in FASTSOCKET_PIN \(1,5\); pinned$/,
  );
});

test('assign: worker i gets the i-th CPU of the order', () => {
  assert.deepEqual(assign({ count: 3 }, [4, 0, 2, 1]), [
    { index: 1, cpu: 4 },
    { index: 2, cpu: 0 },
    { index: 3, cpu: 2 },
  ]);
});

test('assign: CPUs of other apps come last', () => {
  const cpus = (n: number, avoid: number[]) =>
    assign({ count: n }, [0, 1, 2, 3], new Set(avoid)).map(({ cpu }) => cpu);
  assert.deepEqual(cpus(2, [0, 1]), [2, 3]);
  assert.deepEqual(cpus(3, [0, 1]), [2, 3, 0]);
  assert.deepEqual(cpus(4, [0, 1, 2, 3]), [0, 1, 2, 3]);
  assert.deepEqual(cpus(2, [9]), [0, 1]);
});

test('assign: no CPU, with the reason', () => {
  assert.deepEqual(assign({ count: 2, unpinned: 'because' }, [0, 1]), [
    { index: 1, unpinned: 'because' },
    { index: 2, unpinned: 'because' },
  ]);
  assert.deepEqual(assign({ count: 2 }, [5]), [
    { index: 1, cpu: 5 },
    { index: 2, unpinned: 'no CPU left for worker 2' },
  ]);
});

test('assign: who has one of the CPUs keeps it', () => {
  const cpus = (order: number[], before: (number | undefined)[], avoid: number[] = []) =>
    assign({ count: 3 }, order, new Set(avoid), [undefined, ...before]).map(({ cpu }) => cpu);
  assert.deepEqual(cpus([0, 1, 2, 3], [2, 1, 0]), [2, 1, 0]);
  assert.deepEqual(cpus([1, 2, 3, 4], [0, 1, 2]), [3, 1, 2]);
  assert.deepEqual(cpus([1, 2, 3, 4], [0, 1, 2], [3]), [4, 1, 2]);
  // of two on one CPU the first
  assert.deepEqual(cpus([0, 1, 2], [1, 1, undefined]), [1, 0, 2]);
  assert.deepEqual(cpus([0, 1], [5, 1, 0]), [undefined, 1, 0]);
});
