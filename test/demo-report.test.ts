// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partLines, table } from '../bench/demo/report';
import { modeSummary, summary } from './demo-helper';

function cellsOf(text: string, label: string): string[] {
  const line = text.split('\n').find((each) => each.trimStart().startsWith(label)) ?? '';
  return line.trim().split(/ {3,}/).slice(1);
}

test('the table has all that is measured, for each mode, and the ratio to plain Node of the same round', () => {
  const fast = modeSummary('fastsocket', {
    perSecond: [10_000, 6_000, 5_000],
    cpuUs: [50, 50, 50],
    p99Ms: [9.995, 9.995, 9.995],
    local: 1,
  });
  const text = table(summary({ modes: [modeSummary('plain'), modeSummary('cluster'), fast] }));
  assert.deepEqual(cellsOf(text, 'connections per second'), ['5,000', '5,000 (1.00x)', '6,000 (1.20x)']);
  assert.deepEqual(cellsOf(text, 'CPU per connection'), ['100 us', '100 us (1.00x)', '50 us (0.50x)']);
  assert.deepEqual(cellsOf(text, 'p99'), ['20.0 ms', '20.0 ms', '10.0 ms']);
  assert.deepEqual(cellsOf(text, 'local connections'), ['50 %', '50 %', '100 %']);
  assert.deepEqual(cellsOf(text, 'connections per core'), Array(3).fill('cpu0 5,500 (55 %)'));
  assert.equal(text.match(/requests per second/g)?.length, 2);
});

test('columns are aligned, and no line ends in a space', () => {
  const lines = table(summary()).split('\n');
  assert.deepEqual(
    lines.filter((line) => / $/.test(line)),
    [],
  );
  const starts = lines.filter((line) => line.includes('cpu0')).map((line) => line.indexOf('cpu0'));
  assert.equal(new Set(starts).size, 1);
  const width = lines.at(-1)?.length ?? 0;
  assert.ok(
    lines.every((line) => line.length <= Math.max(width, 80)),
    'nothing is wider than the rule',
  );
});

test('what was not measured is n/a, not a number', () => {
  const none = modeSummary('fastsocket', { local: undefined, perCore: [], p99Ms: [undefined] });
  const text = table(summary({ modes: [modeSummary('plain'), none] }));
  assert.deepEqual(cellsOf(text, 'local connections'), ['50 %', 'n/a']);
  assert.deepEqual(cellsOf(text, 'p99'), ['20.0 ms', 'n/a']);
  assert.doesNotMatch(text, /NaN|undefined|Infinity/);
});

test('many cores become one line with the range', () => {
  const parts = Array.from({ length: 8 }, (_, i) => ({
    label: `cpu${i}`,
    connections: 100,
    share: 0.125 + (i - 3.5) / 1000,
  }));
  assert.deepEqual(partLines(parts), ['8: 12.2-12.8 % each']);
});

test('a fastsocket that is not active is named so in the heading', () => {
  const idle = modeSummary('fastsocket', {}, { rootServes: true, serving: 1 });
  assert.match(table(summary({ modes: [modeSummary('plain'), idle] })), /1 process, not active/);
  assert.doesNotMatch(table(summary()), /not active/);
});
