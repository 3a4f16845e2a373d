// SPDX-License-Identifier: Apache-2.0
// The policy on machines with 2 to 128 CPUs that are not here: the bounds of what `npm run bench:simulate` shows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { svg } from '../bench/lib/chart';
import { combined, figuresOf } from '../bench/simulation/figures';
import { readOptions } from '../bench/simulation/options';
import { dice, poisson } from '../bench/simulation/random';
import { drawing, scenarioTable } from '../bench/simulation/report';
import { arrivalShares, type Scenario, SKEWS, type Skew, scenarioOf } from '../bench/simulation/scenarios';
import { simulate } from '../bench/simulation/simulate';

const RULES = { balance: true, native: true };
const SEED = 1;

const play = (name: string, workers: number, skew: Skew, part: Partial<Scenario> = {}) => {
  const run = simulate({ ...scenarioOf(name, workers, skew), ...part }, RULES, SEED);
  return { ...figuresOf(run), run };
};

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
      const { settledS, run } = play('websocket', workers, skew, { seconds: 10 });
      assert.ok(settledS !== undefined && settledS <= 1, `settled after ${settledS} s`);
      assert.equal(run.refused, 0);
    });

    test(`long-lived connections, ${workers} workers, ${skew}: even again after all of one worker's have closed`, () => {
      const { settledS, openSpread, changesAtEnd } = play('closing', workers, skew);
      assert.ok(settledS !== undefined && settledS <= 8, `settled after ${settledS} s`);
      assert.ok(openSpread <= 0.05, `${openSpread}`);
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

test('half of a CPU taken by somebody else: its worker gives away, and gets it back', () => {
  for (const workers of [2, 8]) {
    const { settledS, inside, changes, leastFactor, run } = play('neighbour', workers, 'even');
    assert.ok(settledS !== undefined && settledS < 12, `${settledS}`);
    assert.ok(inside > 0.95, `${inside}`);
    assert.ok(leastFactor < 0.6 && changes < 40, `${leastFactor}, ${changes} tables`);
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
