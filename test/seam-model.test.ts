// SPDX-License-Identifier: Apache-2.0
// The seam's logic without Node and without a kernel: random sequences of calls against a model, under the sanitizers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './support/app';

const LOGIC = ['accept', 'control', 'handles', 'listen', 'loop', 'options', 'ring', 'wait'];
const FLAGS = [
  '-std=c++17',
  '-g',
  '-O1',
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=undefined',
  '-Wall',
  '-Wextra',
  '-Werror',
];
/** Half of the rounds are always the same, the others are new each time: a failure names its seed. */
const ROUNDS = 1_000;

test('a small libuv over a small kernel: everybody is served, nobody twice, nothing spins', (t) => {
  const folder = join(root, 'build', 'native');
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'seam-model');
  const sources = LOGIC.map((name) => join(root, 'native', 'seam', `${name}.cc`));
  const model = join(root, 'test', 'native', 'seam-model.cc');
  const compiled = spawnSync('g++', [...FLAGS, '-o', program, model, ...sources], { encoding: 'utf8' });
  assert.equal(compiled.status, 0, compiled.stderr);
  for (const seed of [1, Date.now() % 1_000_000]) {
    const { status, stderr, stdout } = spawnSync(program, [String(seed), String(ROUNDS)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    t.diagnostic(`seed ${seed}: ${stdout.trim()}`);
  }
});
