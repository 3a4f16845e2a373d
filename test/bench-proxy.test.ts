// SPDX-License-Identifier: Apache-2.0
// The benchmark of proxies: its parts, and as a whole in a run too short for its figures.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { readOptions } from '../bench/proxy/options';
import { together } from '../bench/proxy/reports';
import { variantsOf } from '../bench/proxy/variants';
import { check, ended, startBench, whyNoBench } from './support/bench';

test('options: proxies and workers, and what is refused by name', () => {
  const { proxies, workers, clients, pairs, seconds, off } = readOptions([]);
  assert.deepEqual([proxies, workers], [['undici', 'http-proxy'], availableParallelism()]);
  assert.deepEqual([clients, pairs, seconds, off], [[64], 6, 2, false]);
  assert.throws(() => readOptions(['--proxies', 'nginx']), /--proxies nginx: there are undici, http-proxy/);
  assert.throws(() => readOptions(['--workers', '0']), /--workers 0: must be whole/);
});

test('the same script in all variants', () => {
  const variants = variantsOf('node', 'undici', readOptions(['--workers', '3', '--off']));
  assert.deepEqual(
    variants.map(({ name, workers }) => [name, workers]),
    [
      ['plain Node', 1],
      ['cluster', 3],
      ['fastsocket', 3],
      ['FASTSOCKET_CONNECT=off', 3],
    ],
  );
  const scripts = variants.map(({ words, env }) => env['PROXY'] ?? words.at(-1));
  assert.equal(new Set(scripts).size, 1);
});

test('who accepted in between serves, and the latest event loop counts', () => {
  const before = [
    { pid: 1, accepted: 5, delayMs: 90 },
    { pid: 2, accepted: 7 },
  ];
  const after = [
    { pid: 1, accepted: 5, delayMs: 1 },
    { pid: 2, accepted: 8, delayMs: 4 },
    { pid: 3, accepted: 2, delayMs: 6 },
    { pid: 4, accepted: 0 },
  ];
  assert.deepEqual(together(before, after), { serving: 2, delayMs: 6 });
  assert.deepEqual(together([], []), { serving: 0, delayMs: 0 });
});

test('both proxies in all variants, and nothing is left', {
  skip: whyNoBench(),
  timeout: 90_000,
}, async (t) => {
  const words = ['--pairs', '1', '--seconds', '0.3', '--clients', '8', '--workers', '2'];
  const { rows, variants } = await ended(startBench(t, 'proxy', ...words));
  assert.equal(variants.length, 2);
  const figures = ['cpuUs', 'perSecond', 'answered', 'busy', 'serving'];
  for (const proxy of variants) check(rows, proxy, ['plain Node', 'cluster', 'fastsocket'], figures);
});
