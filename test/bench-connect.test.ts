// SPDX-License-Identifier: Apache-2.0
// The benchmark of connections to somebody else: its parts, and as a whole in a run too short for its figures.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choicesOf, choicesRemark } from '../bench/connect/choices';
import type { ConnectMeasure } from '../bench/connect/measure';
import { readOptions } from '../bench/connect/options';
import { heldOf, planOf, remainderOf } from '../bench/connect/plan';
import { type Cell, drawing, overview } from '../bench/connect/report';
import { logTicks, svg } from '../bench/lib/chart';
import { choosePlace } from '../bench/lib/place';
import { destinationLine } from '../lib/connect/destinations';
import type { Destination } from '../lib/index';
import { check, ended, endsWithAll, startBench, whyNoBench } from './support/bench';

const RANGE = { low: 32_768, high: 41_767 };
const DEFAULT = { low: 32_768, high: 60_999 };

test('options: ranges, shares and holders, and what is refused by name', () => {
  const { ranges, shares, holders, clients, pairs, freePairs, off, svg } = readOptions([]);
  assert.deepEqual(ranges, [RANGE, DEFAULT]);
  assert.deepEqual([shares, holders.length, clients], [[0, 25, 50, 75, 90], 3, 32]);
  assert.deepEqual([pairs, freePairs, off, svg], [6, 20, false, undefined]);
  const refused = (words: string[], message: RegExp) => assert.throws(() => readOptions(words), message);
  refused(['--ranges', '9-10'], /--ranges 9-10: must be LOW-HIGH/);
  refused(['--ranges', '2000-1999'], /--ranges/);
  refused(['--ranges', '60000-65536'], /--ranges/);
  refused(['--shares', '100'], /--shares 100: must be whole, from 0 to 99/);
  refused(['--shares', '25,'], /--shares/);
  refused(['--holders', 'others'], /--holders others: there are own, strangers, time-wait/);
  refused(['--ranges', '2000-2299', '--shares', '90'], /--shares 90: leaves too few ports of 2000-2299/);
});

test('nobody holds more than its descriptors allow', () => {
  const most = 20_000;
  assert.equal(heldOf(RANGE, 50), 4_500);
  assert.deepEqual(planOf(RANGE, 'own', 90, most), {
    held: 8_100,
    own: 8_100,
    strangers: [],
    timeWait: 0,
    servers: 1,
  });
  assert.deepEqual(planOf(DEFAULT, 'strangers', 90, most).strangers, [19_500, 5_909]);
  assert.deepEqual(planOf(DEFAULT, 'time-wait', 90, most), {
    held: 25_409,
    own: 0,
    strangers: [],
    timeWait: 25_409,
    servers: 1,
  });
  const much = planOf(DEFAULT, 'own', 90, most);
  assert.deepEqual([much.own, much.strangers, much.servers], [19_500, [5_909], 2]);
  assert.match(remainderOf(much), /5,909 of them by other processes/);
  assert.equal(remainderOf(planOf(DEFAULT, 'strangers', 90, most)), '');
  for (const limit of [1_000, 4_096, 20_000])
    for (const holder of ['own', 'strangers'] as const) {
      const { held, own, strangers, servers } = planOf(DEFAULT, holder, 75, limit);
      assert.equal(
        strangers.reduce((sum, count) => sum + count, own),
        held,
      );
      assert.ok(Math.max(own, held / servers, ...strangers) < limit, `${holder}, ${limit} descriptors`);
    }
  assert.throws(() => planOf(RANGE, 'own', 50, 256), /256 descriptors/);
});

test("whose choice the ports were is in the hook's log", () => {
  const state: Destination = {
    ...{ address: '127.0.0.1', port: 9300, localAddress: undefined, local: undefined },
    ...{ inUse: 1, resting: 2, chosen: 990, byKernel: 10, retries: 5 },
    mode: 'any',
    why: 'loopback',
  };
  const log = `FASTSOCKET 7: ${destinationLine({ ...state, chosen: 3 })}\nFASTSOCKET 7: ${destinationLine(state)}\n`;
  const choices = choicesOf(log, 9300);
  assert.deepEqual(choices, { chosen: 990, kernels: 10, misses: 5 });
  assert.equal(choicesOf(log, 9301), undefined);
  assert.equal(choicesRemark(log, choices), undefined);
  assert.match(choicesRemark(log, { chosen: 90, kernels: 10, misses: 0 }) ?? '', /^10\.0 % of the ports/);
  assert.match(choicesRemark('', undefined) ?? '', /has not said/);
  assert.equal(
    choicesRemark('fastsocket: no addon\n', undefined),
    'fastsocket: no addon',
    'the reason where there is one',
  );
});

const measures = (roundTripUs: number, callUs: number): ConnectMeasure[] => [
  { roundTripUs, callUs } as ConnectMeasure,
];

function cell(holder: Cell['holder'], share: number, plain: number, fast: number): Cell {
  const variants = [
    { name: 'plain Node', measures: measures(plain, plain / 2) },
    { name: 'fastsocket', measures: measures(fast, fast / 2) },
  ];
  return { range: RANGE, holder, share, comparison: { variants, remarks: [] } };
}

const CELLS = [cell('own', 0, 50, 52), cell('own', 75, 400, 54), cell('time-wait', 75, 700, 56)];

test('the overview has a line for nothing, and for each share of each holder', () => {
  assert.equal(
    overview(CELLS, RANGE),
    `32768-41767, 9,000 ports, medians
  held                            round trip  round trip  connect call  connect call
                                  plain Node  fastsocket    plain Node    fastsocket
  nothing                            50.0 us     52.0 us       25.0 us       26.0 us
  75 % by connections of its own    400.0 us     54.0 us      200.0 us       27.0 us
  75 % in TIME_WAIT                 700.0 us     56.0 us      350.0 us       28.0 us
`,
  );
});

test('the drawing has a panel for each holder and quantity, which begins where nothing is held', () => {
  const chart = drawing('Node', CELLS, [RANGE]);
  assert.deepEqual(
    chart.panels.map(({ title }) => title),
    [
      '9,000 ports, round trip, its own',
      '9,000 ports, round trip, TIME_WAIT',
      '9,000 ports, connect call, its own',
      '9,000 ports, connect call, TIME_WAIT',
    ],
  );
  assert.deepEqual(chart.panels[1]?.lines, [
    {
      name: 'plain Node',
      points: [
        [0, 50],
        [75, 700],
      ],
    },
    {
      name: 'fastsocket',
      points: [
        [0, 52],
        [75, 56],
      ],
    },
  ]);
  const text = svg(chart);
  assert.doesNotMatch(text, /NaN|undefined|Infinity/);
  assert.equal(text.match(/<polyline/g)?.length, 8);
});

test('a logarithmic axis begins and ends at 1, 2 or 5', () => {
  assert.deepEqual(logTicks(26, 700), [20, 50, 100, 200, 500, 1000]);
  assert.deepEqual(logTicks(20, 50), [20, 50]);
  assert.deepEqual(logTicks(0.3, 0.3), [0.2, 0.5]);
  assert.deepEqual(logTicks(1, 1), [1, 2]);
});

test('one point is drawn too, and words are escaped', () => {
  const lines = [{ name: 'a < b', points: [[0, 3]] as [number, number][] }];
  const text = svg({ title: 'one', xName: 'x', yName: 'y', across: 1, panels: [{ title: 'p & q', lines }] });
  assert.doesNotMatch(text, /NaN|Infinity|a < b/);
  assert.match(text, /a &lt; b/);
  assert.match(text, /p &amp; q/);
});

const whyNot =
  whyNoBench() || (choosePlace().network ? false : 'needs network namespaces (root, or user namespaces)');
const options = { skip: whyNot, timeout: 90_000 };
const SHORTLY = ['--ranges', '32768-33167', '--clients', '4', '--free-pairs', '1', '--pairs', '1'];

test('ports are held in each way, and each variant has a row', options, async (t) => {
  const bench = startBench(t, 'connect', ...SHORTLY, '--shares', '0,25', '--seconds', '0.1');
  const { rows, variants } = await ended(bench);
  assert.equal(variants.length, 4);
  const figures = ['roundTripUs', 'callUs', 'calls', 'cpuUs', 'answered', 'perSecond', 'busy'];
  for (const cell of variants) check(rows, cell, ['plain Node', 'fastsocket'], figures);
  for (const label of ['by connections of its own', 'by connections of other processes', 'in TIME_WAIT'])
    assert.ok(
      rows.some(([first]) => first === `25 % ${label}`),
      bench.stdout,
    );
  const resting = variants.map((cell) =>
    cell.map(
      ({ measures }) => (measures[0]?.['closedFirst'] as ConnectMeasure['closedFirst'] | undefined)?.client,
    ),
  );
  // only the time-wait holder's closed first; the process that holds its own has ended with them
  assert.deepEqual(
    [resting[0], resting[2]],
    [
      [0, 0],
      [0, 0],
    ],
  );
  for (const count of resting[3] ?? [])
    assert.ok(count !== undefined && count >= 95 && count <= 100, `${count}`);
});

test('SIGINT ends it with all its processes', options, async (t) => {
  const words = ['--shares', '25', '--holders', 'strangers', '--seconds', '20'];
  // this process, a server, a holder, and a client
  const all = { signal: 'SIGINT', status: 130, processes: 4 } as const;
  await endsWithAll(t, startBench(t, 'connect', ...SHORTLY, ...words), all);
});
