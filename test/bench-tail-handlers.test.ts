// SPDX-License-Identifier: Apache-2.0
// The benchmark of handlers that compute: its load, and as a whole in a run too short for its figures.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choosePlace } from '../bench/lib/place';
import type { Quantiles, TailMeasure } from '../bench/tail/measure';
import { readOptions } from '../bench/tail/options';
import { calm, fastsOf, loadText, planOf, slowsOf, wordsFor } from '../bench/tail/plan';
import { noReusePort } from '../bench/tail/variants';
import { ended, startBench, whyNoBench } from './support/bench';

const HANDLERS = ['--shape', 'handlers'];

test('options: how long handlers compute and how much there is to do, and what is refused by name', () => {
  const { workers, blocks, load } = readOptions(HANDLERS);
  assert.deepEqual([workers, blocks, load], [[2], [10], 0.8]);
  const other = readOptions([...HANDLERS, '--handlers', '5,20', '--load', '120', '--workers', '1,4']);
  assert.deepEqual([other.workers, other.blocks, other.load], [[1, 4], [5, 20], 1.2]);
  assert.throws(() => readOptions([...HANDLERS, '--load', '151']), /--load 151: must be from 1 to 150/);
  assert.throws(() => readOptions([...HANDLERS, '--handlers', '0']), /--handlers 0: must be whole/);
});

test('as many requests as make the load, none of them slow', () => {
  const plan = planOf(readOptions(HANDLERS), 10, 2);
  assert.deepEqual([plan.rate, fastsOf(plan), slowsOf(plan)], [160, 1_280, 0]);
  assert.equal(fastsOf(calm(plan, 1)), 160);
  assert.deepEqual(wordsFor('client', 80, plan), ['client', '80', 'handlers', '160', '8', '1', '0', '10']);
  assert.match(loadText(plan), /^160 requests\/s, .* compute for 10 ms: 1\.6 workers' time$/);
  assert.equal(planOf(readOptions([...HANDLERS, '--load', '120']), 5, 4).rate, 960);
  const short = readOptions([...HANDLERS, '--seconds', '1']);
  assert.throws(() => planOf(short, 2_000, 1), /--seconds 1: too short for a request that computes/);
});

const skip =
  whyNoBench() || (choosePlace().network ? false : 'needs network namespaces (root, or user namespaces)');
const NAMES = ['round robin', 'SCHED_NONE', 'reusePort', 'fastsocket'];
const here = NAMES.filter((name) => name !== 'reusePort' || !noReusePort(process.version));

test('every request of every server computes and is accounted for', { skip, timeout: 120_000 }, async (t) => {
  const noLimits = ['--most-foreign', '100000', '--most-late', '100000', '--wait', '0'];
  const shortly = ['--rounds', '1', '--seconds', '1', '--load', '40', ...noLimits];
  const { rows, variants } = await ended(startBench(t, 'tail', ...HANDLERS, ...shortly));
  assert.equal(variants.length, 1);
  assert.deepEqual(
    variants[0]?.map(({ name }) => name),
    here,
  );
  for (const { name, measures } of variants[0] ?? []) {
    assert.deepEqual(rows.find(([first]) => first === name)?.slice(-3), ['1 of 1', '0', '0'], name);
    const measure = measures[0] as unknown as TailMeasure;
    assert.deepEqual(
      [measure.answered, measure.failed, measure.slowAnswered, measure.slowFailed],
      [80, 0, 0, 0],
    );
    const { p50 } = measure.latencyUs as Quantiles;
    assert.ok(p50 >= 10_000, `${name}: ${p50} us, less than a handler takes`);
    assert.ok((measure.cpuUs ?? 0) < 10_000, `${name}: without what the handlers have burnt`);
  }
});
