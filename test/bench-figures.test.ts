// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of one server make of what they have measured.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientsOf, pairsOf, secondsOf, wordsOf } from '../bench/lib/arguments';
import { columns, ratios, ratioText } from '../bench/lib/columns';
import { inOrder } from '../bench/lib/compare';
import { parseOutcome } from '../bench/lib/load/clients';
import { cpuNs, parseMachineCpu } from '../bench/lib/proc';
import { parseSockets } from '../bench/lib/sockets';
import { medianInterval } from '../bench/lib/stats';

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

test('the interval of a median leaves out as many ranks as the tables of the sign test say', () => {
  // the smallest rank of a two-sided 95 % interval (Conover, Practical Nonparametric Statistics, table A3)
  for (const [n, rank] of [
    [6, 1],
    [8, 1],
    [9, 2],
    [11, 2],
    [12, 3],
    [20, 6],
    [25, 8],
    [100, 40],
  ] as const)
    assert.deepEqual(medianInterval(upTo(n).reverse()), [rank, n + 1 - rank], `${n} values`);
});

test('few values have their least and greatest for an interval, none has none', () => {
  assert.deepEqual(medianInterval([3, undefined, 1, 2]), [1, 3]);
  assert.deepEqual(medianInterval([7]), [7, 7]);
  assert.equal(medianInterval([undefined]), undefined);
});

test('many values have an interval too', () => {
  const [low, high] = medianInterval(upTo(1_000)) ?? [0, 0];
  // 500.5 -+ 1.96 * sqrt(1000) / 2 is 469.5 to 531.5
  assert.ok(Math.abs(low - 469.5) <= 1 && low + high === 1_001, `${low} ${high}`);
});

test('the interval holds the true median in at least 95 of 100 cases', () => {
  let random = 1;
  const next = () => {
    random = (random * 48_271) % 2_147_483_647;
    return random / 2_147_483_647;
  };
  const rounds = 4_000;
  let held = 0;
  for (let i = 0; i < rounds; i++) {
    const [low, high] = medianInterval(Array.from({ length: 10 }, () => next() ** 3)) ?? [1, 0];
    if (low <= 0.125 && high >= 0.125) held++;
  }
  // ten values: 97.9 %
  assert.ok(Math.abs(held / rounds - 0.979) < 0.01, `${held} of ${rounds}`);
});

test('a ratio is of measures of the same round, with the median first', () => {
  assert.deepEqual(ratios([1, undefined, 6, 8], [2, 5, 3, 0]), [0.5, 2]);
  assert.equal(ratioText([1, 2, 9], [2, 2, 3]), '1.00 (0.50-3.00)');
  assert.equal(ratioText([undefined], [1]), 'n/a');
});

test('every variant comes first once', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((round) => inOrder(['a', 'b', 'c'], round).join('')),
    ['abc', 'bca', 'cab', 'abc'],
  );
});

test('columns are aligned', () => {
  assert.equal(
    columns([
      ['a', 'bb'],
      ['ccc', 'd'],
    ]),
    '  a    bb\n  ccc   d',
  );
});

test('who closed first is who is in TIME_WAIT', () => {
  const line = (local: string, remote: string, state: string) =>
    `   0: 0100007F:${local} 0100007F:${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 1\n`;
  const text = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n',
    line('1F90', '0000', '0A'),
    line('1F90', 'C000', '06'),
    line('1F90', 'C001', '06'),
    line('C002', '1F90', '06'),
    line('1F90', 'C003', '01'),
    line('1F91', 'C004', '06'),
  ].join('');
  assert.deepEqual(parseSockets(text, 8080), { listening: true, closedFirst: { server: 2, client: 1 } });
  assert.deepEqual(parseSockets(text, 8081), { listening: false, closedFirst: { server: 1, client: 0 } });
});

test('the last line of a client counts, and all its failures do', () => {
  assert.deepEqual(parseOutcome('Running 1s test\n{"answered":5,"failed":2,"seconds":1}\n'), {
    answered: 5,
    failed: 2,
    seconds: 1,
  });
  assert.equal(parseOutcome('{"answered":5,"reset":2,"broken":3,"seconds":1}').failed, 5);
});

test('the time of one CPU, and of a process in nanoseconds', () => {
  const text = 'cpu  1 20 300 5000 60000 700000 8000000 40000 1 1\ncpu1 1 2 3 9 9 9 9 4 0 0\ncpu11 7 7 7 7\n';
  assert.equal(parseMachineCpu(text, 1), 100);
  if (process.platform !== 'linux') return;
  const before = cpuNs(process.pid);
  const { user, system } = process.cpuUsage();
  while (process.cpuUsage().user + process.cpuUsage().system < user + system + 50_000);
  const used = (cpuNs(process.pid) - before) / 1e6;
  assert.ok(used > 40 && used < 150, `${used} ms`);
});

test('an option out of range is refused by its name', () => {
  assert.deepEqual(clientsOf('64,512'), [64, 512]);
  assert.equal(secondsOf('0.3'), 0.3);
  assert.deepEqual(wordsOf('client', 'fin,wrk', ['fin', 'wrk']), ['fin', 'wrk']);
  assert.throws(() => pairsOf('0'), /--pairs 0: must be whole, from 1 to 1000/);
  assert.throws(() => pairsOf('1.5'), /--pairs/);
  assert.throws(() => clientsOf('64,'), /--clients/);
  assert.throws(() => secondsOf('x'), /--seconds/);
  assert.throws(() => wordsOf('client', 'ab', ['fin', 'wrk']), /--client ab: there are fin, wrk/);
});
