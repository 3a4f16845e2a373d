// SPDX-License-Identifier: Apache-2.0
// scripts/util/test-run.mjs: in CI a test file that fails is run once more, and nothing else is forgiven; one that hangs
// is ended.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { lives, root } from './support/app';
import { temporaryFolder } from './support/temporary';

/** Tests that pass from their Nth run on; each notes its runs. */
const FROM_RUN = { fine: 1, second: 2, never: Number.POSITIVE_INFINITY };

/** Runs what is in the folder. */
function runFolder(folder: string, options: object = {}, CI?: string) {
  const code = `import { runTests } from ${JSON.stringify(pathToFileURL(join(root, 'scripts/util/test-run.mjs')))};
    process.exit(runTests(${JSON.stringify({ folder, ...options })}));`;
  const { CI: _, ...env } = process.env;
  return spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: CI === undefined ? env : { ...env, CI },
    timeout: 60_000,
  });
}

function suite(names: (keyof typeof FROM_RUN)[], CI?: string) {
  const folder = temporaryFolder('second');
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
  const { status, stdout } = runFolder(folder, {}, CI);
  const all = readFileSync(runs, 'utf8').trim().split('\n');
  // several at a time
  return { status, stdout, first: all.slice(0, names.length).sort(), again: all.slice(names.length) };
}

test('in CI what has failed once is run again, alone, and named', () => {
  const { status, stdout, first, again } = suite(['fine', 'second'], 'true');
  assert.deepEqual([first, again], [['fine', 'second'], ['second']]);
  assert.match(stdout, /== passed only the second time: second\.test\.js/);
  assert.equal(status, 0);
});

test('in CI what fails twice fails', () => {
  const { status, stdout, first, again } = suite(['never', 'second'], 'true');
  assert.deepEqual(
    [first, again],
    [
      ['never', 'second'],
      ['never', 'second'],
    ],
  );
  assert.match(stdout, /== failed twice: .*never\.test\.js$/m);
  assert.equal(status, 1);
});

test('elsewhere what fails once fails', () => {
  const { status, first, again } = suite(['fine', 'second']);
  assert.deepEqual([first, again], [['fine', 'second'], []]);
  assert.equal(status, 1);
});

const HANGS = {
  'something is left open': "test('fine', () => CHILD); setInterval(() => {}, 1_000);",
  'it spins': "test('spins', () => { CHILD; for (;;); });",
};

for (const [what, code] of Object.entries(HANGS))
  test(`a file that does not end is killed, with what it has started, and fails: ${what}`, () => {
    const folder = temporaryFolder('second');
    const file = join(folder, 'child');
    const child = `require('node:fs').writeFileSync(${JSON.stringify(file)}, String(
      require('node:child_process').spawn('sleep', ['300'], { stdio: 'ignore' }).pid))`;
    writeFileSync(
      join(folder, 'hangs.test.js'),
      `const { test } = require('node:test'); ${code.replace('CHILD', child)}`,
    );
    // one of those that run alone (scripts/util/beside.mjs)
    writeFileSync(join(folder, 'seam-later.test.js'), "require('node:test').test('later', () => {});");
    const { status, stdout, stderr } = runFolder(folder, { limitMs: 2_000 });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /== not ended after 2 s, killed:\n {2}\d+ node .*hangs\.test\.js\n {2}\d+ sleep 300\n/,
    );
    assert.match(stdout, /✖ \S*hangs\.test\.js/);
    assert.match(stdout, /✔ later/);
    assert.equal(lives(Number(readFileSync(file, 'utf8'))), false);
  });
