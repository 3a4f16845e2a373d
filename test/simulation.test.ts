// SPDX-License-Identifier: Apache-2.0
// The policy on machines with 2 to 128 CPUs that are not here: the bounds of what `npm run bench:simulate` shows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { svg } from '../bench/lib/chart';
import { combined, figuresOf, spread } from '../bench/simulation/figures';
import { readOptions } from '../bench/simulation/options';
import { dice, poisson } from '../bench/simulation/random';
import { drawing, scenarioTable } from '../bench/simulation/report';
import { arrivalShares, type Scenario, SKEWS, type Skew, scenarioOf } from '../bench/simulation/scenarios';
import { simulate } from '../bench/simulation/simulate';

const RULES = { balance: true, native: true };
const SEED = 1;

/** Tables; where it never gets calm there are 40, and a burst may take some on top (lib/steering/balance-pace.ts). */
const A_MINUTE = 50;

const play = (name: string, workers: number, skew: Skew, part: Partial<Scenario> = {}, seed = SEED) => {
  const run = simulate({ ...scenarioOf(name, workers, skew), ...part }, RULES, seed);
  return { ...figuresOf(run), run };
};

/** Of each figure the one that is farthest from what should be, of seeds 1 to `seeds`. */
const worst = (seeds: number, name: string, workers: number, skew: Skew, part: Partial<Scenario> = {}) =>
  combined(
    Array.from({ length: seeds }, (_, i) => play(name, workers, skew, part, SEED + i)),
    'worst',
  );

for (const [workers, seconds] of [
  [2, 60],
  [8, 60],
  [32, 20],
  [128, 6],
] as const)
  test(`even load on ${workers} CPUs: all local, the table stays`, () => {
    const { local, changes, leastFactor, mostFactor } = play('short', workers, 'even', { seconds });
    assert.ok(local >= 0.99, `${local}`);
    assert.ok(changes <= 2, `${changes} tables`);
    assert.ok(leastFactor > 0.85 && mostFactor < 1.15, `${leastFactor} to ${mostFactor}`);
  });

for (const workers of [2, 8, 32, 128])
  for (const skew of ['even', 'loopback'] as const) {
    test(`long-lived connections, ${workers} workers, ${skew}: even after a client has opened its 2,000 or 250 each`, () => {
      const { settledS, changes, run } = play('websocket', workers, skew, { seconds: 10 });
      assert.ok(settledS !== undefined && settledS <= 1, `settled after ${settledS} s`);
      assert.ok(changes <= 22, `${changes} tables`);
      assert.equal(run.refused, 0);
    });

    test(`long-lived connections, ${workers} workers, ${skew}: even again after all of one worker's have closed`, () => {
      const { settledS, openSpread, changesAMinute, changesAtEnd } = worst(
        workers === 128 ? 1 : 3,
        'closing',
        workers,
        skew,
      );
      assert.ok(settledS !== undefined && settledS <= 7, `settled after ${settledS} s`);
      assert.ok(openSpread <= 0.05, `${openSpread}`);
      assert.ok(changesAMinute <= A_MINUTE, `${changesAMinute} tables`);
      assert.equal(changesAtEnd, 0);
    });
  }

test('as many again in a second: even where 8 workers take them, and it stays so', () => {
  for (const skew of SKEWS.filter((each) => each !== 'zipf')) {
    const { inside, changesAtEnd } = play('websocket', 8, skew);
    assert.ok(inside > 0.98, `${skew}: ${inside}`);
    assert.equal(changesAtEnd, 0);
  }
});

for (const [workers, seeds] of [
  [2, 30],
  [8, 30],
  [32, 15],
  [128, 5],
] as const)
  test(`as many again in a second: within 5 % with ${workers} workers and the worst of ${seeds} seeds`, () => {
    for (const skew of ['even', 'loopback'] as const) {
      const { openSpread, changes } = worst(seeds, 'websocket', workers, skew, { seconds: 12 });
      assert.ok(openSpread <= 0.05, `${skew}: ${openSpread}`);
      assert.ok(changes <= A_MINUTE, `${skew}: ${changes} tables`);
    }
  });

for (const [workers, inside, off] of [
  [2, 0.9, 0.05],
  [8, 0.7, 0.08],
  [32, 0.3, 0.1],
  [128, 0, 0.11],
] as const)
  test(`connections that come and go for ever, ${workers} workers: a table now and then, even as far as chance lets it`, () => {
    for (const seed of workers === 128 ? [1] : [1, 2, 3]) {
      const { changesAMinute, run } = play('turnover', workers, 'even', {}, seed);
      assert.ok(changesAMinute <= A_MINUTE, `${changesAMinute} tables`);
      const late = run.samples.filter(({ at }) => at > 60);
      const good = late.filter(({ open }) => spread(open) <= 0.05).length / late.length;
      assert.ok(good >= inside, `${good}`);
      const middle = late.map(({ open }) => spread(open)).sort((a, b) => a - b)[late.length >> 1];
      assert.ok((middle as number) <= off, `${middle}`);
    }
  });

for (const [workers, most] of [
  [2, 12],
  [8, 25],
  [32, 40],
  [128, A_MINUTE],
] as const)
  test(`lasting connections among many short ones, ${workers} workers: few tables`, () => {
    const { changesAMinute, leastShare, mostShare } = play('mixed', workers, 'even', {
      seconds: workers === 128 ? 80 : 150,
    });
    assert.ok(changesAMinute <= most, `${changesAMinute} tables`);
    assert.ok(leastShare > 0.5 && mostShare < 1.5, `${leastShare} to ${mostShare}`);
  });

for (const [workers, off] of [
  [2, 0.04],
  [8, 0.06],
  [32, 0.08],
] as const)
  test(`skewed arrivals, and each of ${workers} workers blocked for 200 ms every 5 s: even all the same`, () => {
    const stalls = { perSecond: 0.2, ms: 200 };
    const { changesAMinute, run } = play('turnover', workers, 'zipf', { stalls });
    const late = run.samples.filter(({ at }) => at > 60).map(({ open }) => spread(open));
    const middle = late.sort((a, b) => a - b)[late.length >> 1] as number;
    assert.ok(middle <= off, `${middle}`);
    assert.ok(changesAMinute <= A_MINUTE, `${changesAMinute} tables`);
  });

test('steady load of any kind: a table at first, and then hardly another', () => {
  for (const name of ['short', 'keepalive', 'stalls'])
    for (const skew of ['even', 'two'] as const) {
      const { changes } = worst(2, name, 8, skew, { seconds: 30 });
      assert.ok(changes <= 5, `${name}, ${skew}: ${changes} tables`);
    }
});

test('half of a CPU taken by somebody else: its worker gives away, and gets it back', () => {
  for (const workers of [2, 8]) {
    const { settledS, inside, changes, leastFactor, run } = play('neighbour', workers, 'even');
    assert.ok(settledS !== undefined && settledS < 12, `${settledS}`);
    assert.ok(inside > 0.95, `${inside}`);
    assert.ok(leastFactor < 0.6 && changes < 20, `${leastFactor}, ${changes} tables`);
    assert.deepEqual(
      run.samples.at(-1)?.factors.map((factor) => factor),
      Array<number>(workers).fill(1),
    );
  }
});

test('more than all can serve: it does not oscillate', () => {
  const { changes, run } = play('saturated', 8, 'even', { seconds: 20 });
  assert.ok(changes <= 10, `${changes} tables`);
  const settled = run.samples.filter(({ at }) => at > 10);
  assert.ok(settled.every(({ factors }) => factors.every((factor) => factor > 0.4 && factor < 1.6)));
});

test('the same seed, the same run; without the policy no shares', () => {
  const scenario = { ...scenarioOf('closing', 4, 'zipf'), seconds: 15 };
  const [first, second] = [simulate(scenario, RULES, 7), simulate(scenario, RULES, 7)];
  assert.deepEqual(first, second);
  const chance = figuresOf(simulate(scenario, { ...RULES, balance: false }, 7));
  assert.deepEqual([chance.leastFactor, chance.mostFactor], [1, 1]);
});

test('chance: the mean of many, and shares of arrivals that sum to one', () => {
  const random = dice(5);
  for (const mean of [0.01, 3, 200]) {
    let sum = 0;
    for (let i = 0; i < 20_000; i++) sum += poisson(random, mean);
    assert.ok(Math.abs(sum / 20_000 - mean) < 5 * Math.sqrt(mean / 20_000), `${mean}: ${sum / 20_000}`);
  }
  for (const skew of SKEWS) {
    const total = arrivalShares(skew, 8).reduce((sum, share) => sum + share, 0);
    assert.ok(Math.abs(total - 1) < 1e-9, skew);
  }
});

test('options, table and drawing', () => {
  const { workers, skews, seed, balance, native } = readOptions([]);
  assert.deepEqual(
    [workers, skews, seed, balance, native],
    [[2, 8, 32, 128], ['even', 'two'], 1, true, true],
  );
  assert.throws(() => readOptions(['--workers', '1']), /--workers 1: must be whole, from 2 to 128/);
  assert.throws(
    () => readOptions(['--skews', 'odd']),
    /--skews odd: there are even, zipf, two, one, loopback/,
  );
  const { run } = play('websocket', 2, 'even', { seconds: 8 });
  assert.match(scenarioTable([run]), /2 workers, even +\d+\.\d s +100\.0 %/);
  assert.match(scenarioTable([run, run]), /2 workers, even .*\n {4}worst of 2 /);
  const figures = figuresOf(run);
  assert.equal(combined([figures, { ...figures, settledS: undefined }], 'worst').settledS, undefined);
  assert.match(svg(drawing([run])), /2 workers, even/);
});
