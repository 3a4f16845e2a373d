// SPDX-License-Identifier: Apache-2.0
// What scripts/node-suite.mjs says of tests that fail with the hook, and of its list of exceptions.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './support/app';
import { temporaryFolder } from './support/temporary';

const HOOKED = "process[Symbol.for('fastsocket.state')]";
const TESTS = {
  'test-net-same.js': '',
  'test-net-fails.js': `process.exit(${HOOKED} ? 1 : 0);`,
  'test-http-broken.js': 'process.exit(1);',
  'test-http2-healed.js': `process.exit(${HOOKED} ? 0 : 1);`,
};

/** The first two alone. */
const NET = ['--pattern', '^test-net-'];

interface Exception {
  test: string;
  groups: string[];
  versions?: number[];
  reason: string;
}

function suite() {
  const folder = temporaryFolder('suite');
  for (const name of ['common', 'parallel']) mkdirSync(join(folder, 'test', name), { recursive: true });
  for (const [name, text] of Object.entries(TESTS)) writeFileSync(join(folder, 'test/parallel', name), text);
  const list = join(folder, 'exceptions.mjs');
  const run = (exceptions: Exception[], ...more: string[]) => {
    writeFileSync(list, `export const EXCEPTIONS = ${JSON.stringify(exceptions)};`);
    const words = [join(root, 'scripts/node-suite.mjs'), folder, '--exceptions', list, ...more];
    const { status, stdout } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    return { status, stdout };
  };
  return { run, folder };
}

const excepted = (name: string, more: Partial<Exception> = {}): Exception => ({
  test: `parallel/${name}`,
  groups: ['none'],
  reason: 'on purpose',
  ...more,
});

test('a test that fails only with the hook fails the run, unless it is listed', () => {
  const { run } = suite();
  const { status, stdout } = run([]);
  assert.equal(status, 1, stdout);
  assert.match(stdout, /^FAILS ONLY WITH THE HOOK: parallel\/test-net-fails\.js$/m);
  assert.match(stdout, /^fail both ways: parallel\/test-http-broken\.js$/m);
  assert.match(stdout, /^failed only without: parallel\/test-http2-healed\.js$/m);
  assert.match(stdout, /^net +2 +0 +1 +0 +0 +1$/m);
  assert.match(stdout, /^all +4 +0 +1 +1 +1 +1$/m);
  const listed = run([excepted('test-net-fails.js')]);
  assert.equal(listed.status, 0, listed.stdout);
  assert.match(listed.stdout, /^excepted: parallel\/test-net-fails\.js: on purpose$/m);
});

test('an exception is for its settings and its versions', () => {
  const { run } = suite();
  const major = Number.parseInt(process.versions.node, 10);
  for (const more of [{ groups: ['held'] }, { versions: [major + 1] }]) {
    const { status, stdout } = run([excepted('test-net-fails.js', more)], ...NET);
    assert.equal(status, 1, stdout);
  }
  const held = ['--settings', 'FASTSOCKET_TEST_GROUPS=held', ...NET];
  const { status, stdout } = run([excepted('test-net-fails.js', { groups: ['held'] })], ...held);
  assert.equal(status, 0, stdout);
});

test('a listed test that passes fails the run', () => {
  const list = [excepted('test-net-fails.js'), excepted('test-net-same.js')];
  const { status, stdout } = suite().run(list, ...NET);
  assert.equal(status, 1, stdout);
  assert.match(stdout, /^LISTED, AND PASSES: parallel\/test-net-same\.js$/m);
});

test('results without the hook are kept for the next run', () => {
  const { run, folder } = suite();
  const kept = join(folder, 'plain.json');
  assert.equal(run([excepted('test-net-fails.js')], '--plain', kept, ...NET).status, 0);
  const { version, results } = JSON.parse(readFileSync(kept, 'utf8'));
  assert.equal(version, process.version);
  assert.deepEqual(results['parallel/test-net-same.js'], { passed: true, skipped: false });
  results['parallel/test-net-same.js'].passed = false;
  writeFileSync(kept, JSON.stringify({ version, results }));
  const { stdout } = run([excepted('test-net-fails.js')], '--plain', kept, ...NET);
  assert.match(stdout, /^failed only without: .*parallel\/test-net-same\.js$/m);
});
