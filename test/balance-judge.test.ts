// SPDX-License-Identifier: Apache-2.0
// Who is blocked and who helps, without processes: cases, and workers at random, under the sanitizers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { program } from './support/program';

const ROUNDS = 2_000;

test('blocked is who has a queue and accepts nothing; all cannot be excluded; helpers have nothing to do', async (t) => {
  const binary = await program('judge-cases', ['test/native/judge-cases.cc', 'native/balance/judge.cc']);
  for (const seed of [1, Date.now() % 1_000_000]) {
    const { status, stderr, stdout } = spawnSync(binary, [String(seed), String(ROUNDS)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    t.diagnostic(`seed ${seed}: ${stdout.trim()}`);
  }
});
