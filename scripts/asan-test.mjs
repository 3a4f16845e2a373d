// SPDX-License-Identifier: Apache-2.0
// The addon's own tests, and the seam and the balancer under real load, with ASan and UBSan: node scripts/asan-test.mjs
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { host, install } from './util/addons.mjs';
import { FILE_LIMIT_MS } from './util/file-limit.mjs';
import { filesBelow } from './util/files.mjs';
import { passesInTheEnd } from './util/second-run.mjs';
import { fail, root, run, runQuietly, say } from './util/shell.mjs';

const addon = join(root, 'build/asan/fastsocket.node');
const reports = join(root, 'build/asan/reports');

/**
 * What of test/seam.test.ts says something about memory: all but the controls (plain Node), what counts system calls, and
 * the settings.
 */
const SEAM_TESTS = [
  'alone does its own work',
  'a quiet server',
  "'request' comes after",
  'queued before the first',
  'spawnSync within',
  'nobody is reset',
  'the piece left out',
  'files that hold',
  'nobody is lost',
  'worker threads that listen',
  'a port that the kernel',
];
const OF_THE_TREE = [
  'seam',
  'seam-fidelity',
  'seam-neighbours',
  'balance',
  'balance-failpoints',
  'balance-races',
];

/** A package of its own whose addon is the one with the sanitizers, with the compiled tests: an app's hook loads that. */
function sanitizedTree() {
  const tree = join(root, 'build/asan/tree');
  rmSync(tree, { recursive: true, force: true });
  const parts = ['package.json', 'dist', 'build/test', 'build/lib', 'build/bench'];
  for (const name of [...parts, 'test/fixtures', 'test/native', 'bench/native'])
    cpSync(join(root, name), join(tree, name), { recursive: true });
  for (const place of [`prebuilds/${host()}`, 'build/failpoints'])
    install(addon, join(tree, place, 'fastsocket.node'));
  return join(tree, 'build/test');
}

/**
 * A stock Node: the sanitizers' run-time library comes first by LD_PRELOAD. Of what the seam replaces it has an accept4 of
 * its own: libuv's slot holds that one, as the dynamic linker resolves it, and the seam calls it.
 */
function environment() {
  const library = (name) => runQuietly('g++', [`-print-file-name=${name}`]).trim();
  const log = `log_path=${join(reports, 'report')}`;
  return {
    ...process.env,
    LD_PRELOAD: `${library('libasan.so')}:${library('libubsan.so')}`,
    // Node itself never frees some of its memory at exit
    ASAN_OPTIONS: `detect_leaks=0:abort_on_error=1:${log}`,
    UBSAN_OPTIONS: `halt_on_error=1:print_stacktrace=1:${log}`,
  };
}

/** What the sanitizers have said of any process, whatever its test thought of it: no second run makes up for that. */
function complaints() {
  const texts = filesBelow(reports).map((file) => readFileSync(file, 'utf8'));
  for (const text of texts) process.stderr.write(`${text}\n`);
  return texts.filter((text) => /ERROR: \w+Sanitizer|runtime error: /.test(text)).length;
}

if (run(process.execPath, [join(root, 'scripts/native.mjs'), 'build', '--debug-asan']) !== 0)
  fail('the addon with the sanitizers could not be built');
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });
const env = environment();
const own = join(root, 'build/test');
const ofTheAddon = readdirSync(own).filter((name) => /^addon-.*\.test\.js$/.test(name));
if (ofTheAddon.length === 0) fail('no addon tests in build/test: run the build first');
const tests = sanitizedTree();
const patterns = SEAM_TESTS.map((name) => `--test-name-pattern=${name}`);
const passes = (file) => {
  const inTree = file.startsWith(tests);
  // in the tree the addon's place is where the hook looks for it
  const more = inTree ? {} : { FASTSOCKET_TEST_ADDON: addon };
  const some = file === join(tests, 'seam.test.js') ? patterns : [];
  const limits = { timeout: FILE_LIMIT_MS, killSignal: 'SIGKILL' };
  return run(process.execPath, [...some, file], { ...limits, env: { ...env, ...more } }) === 0;
};
const files = [
  ...ofTheAddon.map((name) => join(own, name)),
  ...OF_THE_TREE.map((name) => join(tests, `${name}.test.js`)),
];
const passed = passesInTheEnd([{ files }], ({ files: some }) => some.filter((file) => !passes(file)));
const complained = complaints();
say(`asan-test: ${files.length} files, ${complained} reports of the sanitizers`);
process.exit(passed && complained === 0 ? 0 : 1);
