// SPDX-License-Identifier: Apache-2.0
// The seam's logic without Node and without a kernel: random sequences of calls against a model, under the sanitizers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { program } from './support/program';
import { modelParts, seamLogic } from './support/seam-logic';

const MODEL = ['app', 'app-world', 'calls', 'kernel', 'kernel-ring', 'uv', 'uv-ring'];
/** Half of the rounds are always the same, the others are new each time: a failure names its seed. */
const ROUNDS = 300;

const logic = seamLogic();
const link = ['clock_gettime', 'mmap', 'munmap'].map((name) => `-Wl,--wrap=${name}`);

test('a small libuv over a small kernel: everybody is served, nobody twice, nothing spins', async (t) => {
  const binary = await program(
    'seam-model',
    ['test/native/seam-model.cc', ...modelParts(MODEL), ...logic],
    link,
  );
  for (const seed of [1, Date.now() % 1_000_000]) {
    const { status, stderr, stdout } = spawnSync(binary, [String(seed), String(ROUNDS)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    t.diagnostic(`seed ${seed}: ${stdout.trim()}`);
  }
});

test("cases that are seldom, and libuv's ring over the real io_uring", async (t) => {
  const parts = modelParts(['calls', 'kernel', 'kernel-ring', 'uv', 'uv-ring']);
  const binary = await program('seam-cases', ['test/native/seam-cases.cc', ...parts, ...logic], link);
  const { status, stderr, stdout } = spawnSync(binary, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  t.diagnostic(stdout.trim());
});
