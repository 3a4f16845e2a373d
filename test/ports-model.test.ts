// SPDX-License-Identifier: Apache-2.0
// The seam's choice of source ports without Node and without a kernel: random sequences of calls over a model of TCP's
// ports, under the sanitizers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { program } from './support/program';
import { modelParts, seamLogic } from './support/seam-logic';

const MODEL = [
  'calls',
  'client',
  'client-bound',
  'client-check',
  'client-others',
  'client-steer',
  'net',
  'net-calls',
];
/** Half of the rounds are always the same, the others are new each time: a failure names its seed. */
const ROUNDS = 120;

test('ports chosen by the seam: no connect() fails by it, and it knows of each port what it can', async (t) => {
  const sources = [
    'test/native/ports-model.cc',
    ...modelParts(MODEL),
    ...seamLogic(['local_ports', 'survey']),
  ];
  const binary = await program('ports-model', sources, ['-Wl,--wrap=clock_gettime']);
  // 3002 comes to a connect() on a number that is nobody's, where the fresh socket gets it, in round 8
  for (const seed of [1, 3002, Date.now() % 1_000_000]) {
    const { status, stderr, stdout } = spawnSync(binary, [String(seed), String(ROUNDS)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    t.diagnostic(`seed ${seed}: ${stdout.trim()}`);
  }
});
