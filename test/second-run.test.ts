// SPDX-License-Identifier: Apache-2.0
// scripts/util/test-run.mjs: in CI a test file that fails is run once more, and nothing else is forgiven.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { root } from './support/app';

/** Tests that pass from their Nth run on; each notes its runs. */
const FROM_RUN = { fine: 1, second: 2, never: Number.POSITIVE_INFINITY };

function suite(t: TestContext, names: (keyof typeof FROM_RUN)[], CI?: string) {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-second-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const runs = join(folder, 'runs');
  writeFileSync(runs, '');
  for (const name of names) {
    const text = `const { appendFileSync, readFileSync } = require('node:fs');
      require('node:test').test('${name}', () => {
        appendFileSync(${JSON.stringify(runs)}, '${name}\\n');
        const count = readFileSync(${JSON.stringify(runs)}, 'utf8').split('${name}').length - 1;
        if (count < ${FROM_RUN[name]}) throw new Error('not yet');
      });`;
    writeFileSync(join(folder, `${name}.test.js`), text);
  }
  const code = `import { runTests } from ${JSON.stringify(pathToFileURL(join(root, 'scripts/util/test-run.mjs')))};
    process.exit(runTests({ folder: ${JSON.stringify(folder)} }));`;
  const { CI: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: CI === undefined ? env : { ...env, CI },
  });
  return { status, stdout, runs: readFileSync(runs, 'utf8').trim().split('\n') };
}

test('in CI what has failed once is run again, alone, and named', (t) => {
  const { status, stdout, runs } = suite(t, ['fine', 'second'], 'true');
  assert.deepEqual(runs, ['fine', 'second', 'second']);
  assert.match(stdout, /== passed only the second time: second\.test\.js/);
  assert.equal(status, 0);
});

test('in CI what fails twice fails', (t) => {
  const { status, stdout, runs } = suite(t, ['never', 'second'], 'true');
  assert.deepEqual(runs, ['never', 'second', 'never', 'second']);
  assert.match(stdout, /== failed twice: .*never\.test\.js$/m);
  assert.equal(status, 1);
});

test('elsewhere what fails once fails', (t) => {
  const { status, runs } = suite(t, ['fine', 'second']);
  assert.deepEqual(runs, ['fine', 'second']);
  assert.equal(status, 1);
});
