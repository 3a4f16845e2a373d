// SPDX-License-Identifier: Apache-2.0
// How often there are new shares of the connections, and where they lead without chance.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Crew, MS } from './steering-crew';
import { dice, fraction, pick } from './steering-helper';

/**
 * Everybody is given exactly its share: what the policy does without chance. `stays`: none ends; else as many do as come.
 * `left`: the largest distance from the mean, over it.
 */
function givenExactly(
  crew: Crew,
  ms: number,
  rate: number,
  stays = true,
): { left: number[]; tables: number } {
  const n = crew.figures.length;
  const left: number[] = [];
  let tables = 0;
  let factors = crew.look();
  for (let at = 0; at < ms; at += MS) {
    const all = factors.reduce((sum, each) => sum + each, 0);
    const given = factors.map((factor) => (((rate * MS) / 1_000) * factor) / all);
    const total = crew.figures.reduce((sum, each) => sum + each.open, 0);
    const ended = stays ? 0 : (rate * MS) / 1_000 / total;
    const next = crew.next((i) => ({
      accepted: given[i] as number,
      open: (crew.figures[i]?.open ?? 0) * (1 - ended) + (given[i] as number),
      busy: 0.1,
    }));
    if (String(next) !== String(factors)) tables++;
    factors = next;
    const open = crew.figures.map((each) => each.open);
    const middle = open.reduce((sum, each) => sum + each, 0) / n;
    left.push(Math.max(...open.map((each) => Math.abs(each - middle))) / middle);
  }
  return { left, tables };
}

test('lasting connections, 100 uneven machines of 2 to 128 workers: even when half as many more have come, nothing swings', () => {
  const random = dice(34);
  for (let round = 0; round < 100; round++) {
    const crew = new Crew(2 + pick(random, 127));
    const n = crew.figures.length;
    for (const each of crew.figures) each.open = 100 + pick(random, 100);
    // half of what is open, in 2 to 20 s
    const seconds = 2 + pick(random, 19);
    const { left, tables } = givenExactly(crew, seconds * 1_000, (n * 150) / 2 / seconds);
    const what = `${n} workers, ${seconds} s: ${left.map((each) => each.toFixed(3))}`;
    for (const [i, each] of left.entries())
      if (i > 0) assert.ok(each <= Math.max((left[i - 1] as number) + 1e-9, 0.04), `${i}: ${what}`);
    assert.ok((left.at(-1) as number) < 0.03, what);
    assert.ok(tables <= 20, `${tables} tables: ${what}`);
  }
});

test('a worker with few connections among few gets more also where it is a matter of a handful', () => {
  const crew = new Crew(4);
  for (const each of crew.figures) each.open = each.index === 1 ? 5 : 20;
  const { left } = givenExactly(crew, 40_000, 1, false);
  assert.ok((left.at(-1) as number) < 0.25, `${left.at(-1)}`);
});

test('a burst that meets shares made for a trickle does not carry anybody far beyond the mean', () => {
  for (let quietMs = MS; quietMs <= 30 * MS; quietMs += MS) {
    const crew = new Crew(2);
    for (const each of crew.figures) each.open = each.index === 1 ? 970 : 1_030;
    givenExactly(crew, quietMs, 40);
    const { left } = givenExactly(crew, 1_000, 2_000);
    const most = Math.max(...left.slice(1));
    assert.ok(most < 0.06, `${quietMs} ms: ${left.map((each) => each.toFixed(3))}`);
  }
});

test('whatever the figures, there are not more new shares than 48 a minute and 30', () => {
  const random = dice(35);
  const MINUTES = 20;
  for (const swing of [10, 300, 10_000]) {
    const crew = new Crew(8);
    let shares = 0;
    let before = '';
    for (let i = 0; i < MINUTES * 600; i++) {
      const up = i % 100 < 50 ? 1 : -1;
      const now = crew.next((worker) => ({
        accepted: pick(random, swing),
        open: Math.max(0, (crew.figures[worker]?.open ?? 0) + up * pick(random, swing)),
        busy: fraction(random),
      }));
      if (String(now) !== before) shares++;
      before = String(now);
    }
    assert.ok(shares > MINUTES && shares <= MINUTES * 48 + 30, `${swing}: ${shares}`);
  }
});
