// SPDX-License-Identifier: Apache-2.0
// Who is blocked and who helps, without processes: cases, and workers at random, under the sanitizers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { program } from './support/program';
import { modelParts, seamLogic } from './support/seam-logic';

const ROUNDS = 2_000;

const judged = (name: string): Promise<string> =>
  program(name, [`test/native/${name}.cc`, 'native/balance/judge.cc']);

for (const [what, name] of [
  ['blocked is who has a queue and accepts nothing', 'judge-cases'],
  ['blocked is who is in one turn for long', 'judge-turns'],
] as const)
  test(`${what}, case by case`, async () => {
    const { status, stderr } = spawnSync(await judged(name), { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  });

test('the thread looks as often as its part of a CPU allows, whatever a look costs', async () => {
  const binary = await program('budget-cases', ['test/native/budget-cases.cc']);
  const { status, stderr } = spawnSync(binary, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});

test('workers at random: who is blocked has a queue; all cannot be excluded; helpers have nothing to do', async (t) => {
  const binary = await judged('judge-random');
  for (const seed of [1, Date.now() % 1_000_000]) {
    const { status, stderr, stdout } = spawnSync(binary, [String(seed), String(ROUNDS)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    t.diagnostic(`seed ${seed}: ${stdout.trim()}`);
  }
});

for (const [name, what] of [
  ['steal', "connections from a sibling's queue"],
  ['kept', "siblings' queues that are kept for later"],
  ['newcomer', 'who has said nothing yet, and those behind it'],
  ['offers', 'what is offered to a worker, and what it answers'],
] as const)
  test(`${what}, over a model of the kernel`, async (t) => {
    const link = ['clock_gettime', 'mmap', 'munmap'].map((name) => `-Wl,--wrap=${name}`);
    const parts = modelParts(['calls', 'kernel', 'kernel-ring']);
    const cases = `${name}-cases`;
    const binary = await program(cases, [`test/native/${cases}.cc`, ...parts, ...seamLogic()], link);
    const { status, stderr, stdout } = spawnSync(binary, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    t.diagnostic(stdout.trim());
  });
