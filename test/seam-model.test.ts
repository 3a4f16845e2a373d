// SPDX-License-Identifier: Apache-2.0
// The seam's logic without Node and without a kernel: random sequences of calls against a model, under the sanitizers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { program } from './support/program';

const LOGIC = [
  'accept',
  'control',
  'handles',
  'listen',
  'loop',
  'options',
  'ring',
  'share',
  'wait',
  'wrappers',
];
const MODEL = ['app', 'app-world', 'kernel', 'kernel-ring', 'uv', 'uv-ring'];
/** Half of the rounds are always the same, the others are new each time: a failure names its seed. */
const ROUNDS = 400;

test('a small libuv over a small kernel: everybody is served, nobody twice, nothing spins', async (t) => {
  const sources = [
    'test/native/seam-model.cc',
    ...MODEL.map((name) => `test/native/model/${name}.cc`),
    ...LOGIC.map((name) => `native/seam/${name}.cc`),
  ];
  const wraps = ['clock_gettime', 'mmap', 'munmap'].map((name) => `-Wl,--wrap=${name}`);
  const model = await program('seam-model', sources, { link: wraps });
  for (const seed of [1, Date.now() % 1_000_000]) {
    const { status, stderr, stdout } = spawnSync(model, [String(seed), String(ROUNDS)], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    t.diagnostic(`seed ${seed}: ${stdout.trim()}`);
  }
});
