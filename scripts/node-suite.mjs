// SPDX-License-Identifier: Apache-2.0
// Node's own tests with and without the hook:
//   node scripts/node-suite.mjs DIR [--version 20 | --node PATH] [--pattern REGEX] [--how require|import|env] [--width 2]
//     [--settings FASTSOCKET_WORKERS=1,FASTSOCKET_SEAM=on] [--plain FILE] [--exceptions FILE]
// DIR is a checkout of the tests of the same version (a folder with test/parallel, test/common, ..., or test itself).
// Prints the tests that fail with the hook and not without it; those are run again to tell flaky ones apart. Fails where
// one is left that is not listed in node-suite-exceptions.mjs, and where one that is listed passes. `--plain`: results
// without the hook are kept there, for runs with other settings.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { splitArguments } from './util/arguments.mjs';
import { nodeBinary } from './util/nodes.mjs';
import { fail, mapLimited, root, runCollected, runQuietly } from './util/shell.mjs';
import { exceptionsFor, table } from './util/suite-verdict.mjs';
import { cleanEnvironment } from './util/test-run.mjs';

const TIMEOUT_MS = 60_000;
const RERUNS = 3;
const FAMILIES = [
  'net',
  'cluster',
  'https',
  'http2',
  'http',
  'tls',
  'child-process',
  'dgram',
  'worker',
  'signal',
];
const WAYS = {
  require: { args: ['-r', join(root, 'dist/register.cjs')], env: {} },
  import: { args: ['--import', join(root, 'dist/register.mjs')], env: {} },
  env: { args: [], env: { NODE_OPTIONS: `-r ${join(root, 'dist/register.cjs')}` } },
};
const PLAIN = { args: [], env: {} };

const { options, names } = splitArguments(process.argv.slice(2), {
  version: 'number',
  node: 'path',
  pattern: 'regex',
  how: Object.keys(WAYS).join('|'),
  width: 'number',
  settings: 'NAME=VALUE,...',
  plain: 'file',
  exceptions: 'file',
});
const folder = testFolder(names);
const node = options.node
  ? resolve(options.node)
  : options.version
    ? nodeBinary(options.version)
    : process.execPath;
const way = WAYS[options.how ?? 'require'] ?? fail(`--how is one of ${Object.keys(WAYS).join(', ')}`);
const settings = pairs((options.settings ?? '').split(',').filter(Boolean));
/** Each test as the one worker of a tree, who is nobody's primary. */
const asWorker = settings.FASTSOCKET_TEST_GROUPS === 'worker';
const families = FAMILIES.filter((family) => !(asWorker && family === 'cluster'));
const PATTERN = `^test-(${families.join('|')})[-.]`;
const origin = asWorker ? [join(root, 'scripts/util/judging-origin.cjs')] : [];
const hooked = { args: [...origin, ...way.args], env: { ...way.env, ...settings } };
const width = Number(options.width ?? 2);

function testFolder([given, ...others]) {
  if (given === undefined || others.length > 0)
    return fail("give one folder: a checkout of Node's own tests");
  const found = [join(given, 'test'), given].find((path) => existsSync(join(path, 'common')));
  return found ? resolve(found) : fail(`${given} has no test/common`);
}

/** Of words such as NAME=VALUE. */
function pairs(words) {
  return Object.fromEntries(words.map((word) => [word.split('=', 1)[0], word.slice(word.indexOf('=') + 1)]));
}

/** The tests of one of Node's folders, with what their headers ask for (tools/test.py and test/testpy there). */
function testsOf(suite) {
  const path = join(folder, suite);
  if (!existsSync(path)) return [];
  const pattern = new RegExp(options.pattern ?? PATTERN);
  const files = readdirSync(path).filter((name) => /\.m?js$/.test(name) && pattern.test(name));
  return files.sort().map((name) => {
    const file = join(path, name);
    const text = readFileSync(file, 'utf8');
    const header = (key) =>
      [...text.matchAll(new RegExp(`^//\\s+${key}:(.*)`, 'gm'))].flatMap(([, words]) =>
        words.trim().split(/\s+/),
      );
    return { name: `${suite}/${name}`, file, flags: header('Flags'), env: pairs(header('Env')) };
  });
}

/** Runs one test; `lane` keeps ports and temporary folders of tests that run at the same time apart. */
async function runOnce(test, way, lane) {
  const env = { ...cleanEnvironment(), ...test.env, ...way.env, TEST_THREAD_ID: String(lane) };
  // common.PORT throws in tests that run beside others.
  if (test.name.startsWith('parallel/')) env.TEST_PARALLEL = '1';
  const nodeOptions = [test.env.NODE_OPTIONS, way.env.NODE_OPTIONS].filter(Boolean).join(' ');
  if (nodeOptions) env.NODE_OPTIONS = nodeOptions;
  const args = [...way.args, ...test.flags, test.file];
  const result = await runCollected(node, args, { cwd: join(folder, '..'), env, timeoutMs: TIMEOUT_MS });
  return { ...result, passed: result.status === 0, skipped: /^1\.\.0 # Skipped/m.test(result.output) };
}

/** The lowest number that no running test has. */
const lanes = new Set();
async function inLane(f) {
  let lane = 0;
  while (lanes.has(lane)) lane++;
  lanes.add(lane);
  try {
    return await f(lane);
  } finally {
    lanes.delete(lane);
  }
}

let done = 0;
async function compare(test, _index, all) {
  const [plain, withHook] = await inLane(async (lane) => [
    kept[test.name] ?? (await runOnce(test, PLAIN, lane)),
    await runOnce(test, hooked, lane),
  ]);
  if (++done % 50 === 0) process.stderr.write(`  ${done} of ${all} tests\n`);
  return { test, plain, withHook };
}

/** Whether it fails once more in `RERUNS` runs, alone on the machine as far as we are concerned. */
async function failsAgain(test, way) {
  for (let run = 0; run < RERUNS; run++) if (!(await runOnce(test, way, 0)).passed) return true;
  return false;
}

function excerpt({ timedOut, signal, status, output }) {
  const end = timedOut
    ? `no end within ${TIMEOUT_MS / 1000} s`
    : signal
      ? `ended by ${signal}`
      : `status ${status}`;
  const lines = output.trim().split('\n').slice(0, 25);
  return [end, ...lines].map((line) => `      ${line}`).join('\n');
}

const parallel = testsOf('parallel');
const sequential = testsOf('sequential');
const total = parallel.length + sequential.length;
if (total === 0) fail('no test matches');
const version = runQuietly(node, ['--version']).trim();
const { EXCEPTIONS } = await import(
  options.exceptions ? pathToFileURL(resolve(options.exceptions)) : './node-suite-exceptions.mjs'
);
const exceptions = exceptionsFor(EXCEPTIONS, {
  major: Number.parseInt(version.slice(1), 10),
  groups: settings.FASTSOCKET_TEST_GROUPS ?? 'none',
});
const kept = keptResults();

/** Results without the hook of an earlier run of this version. */
function keptResults() {
  if (!options.plain || !existsSync(options.plain)) return {};
  const { version: earlier, results } = JSON.parse(readFileSync(options.plain, 'utf8'));
  return earlier === version ? results : {};
}

function keepResults(results) {
  for (const { test, plain } of results) kept[test.name] = { passed: plain.passed, skipped: plain.skipped };
  writeFileSync(options.plain, JSON.stringify({ version, results: kept }));
}

console.log(
  `Node ${version}: ${total} tests, each without and with ${[...hooked.args, ...Object.entries(hooked.env).map((pair) => pair.join('='))].join(' ')}`,
);
const results = [
  ...(await mapLimited(parallel, width, (test, index) => compare(test, index, total))),
  ...(await mapLimited(sequential, 1, (test, index) => compare(test, index, total))),
];
if (options.plain) keepResults(results);
for (const line of table(results, FAMILIES)) console.log(line);
const both = results.filter(({ plain, withHook }) => !plain.passed && !withHook.passed);
if (both.length > 0) console.log(`fail both ways: ${both.map(({ test }) => test.name).join(' ')}`);
const healed = results.filter(({ plain, withHook }) => !plain.passed && withHook.passed);
if (healed.length > 0) console.log(`failed only without: ${healed.map(({ test }) => test.name).join(' ')}`);

let regressions = 0;
let excepted = 0;
for (const { test, withHook } of results.filter(({ plain, withHook }) => plain.passed && !withHook.passed)) {
  const reason = exceptions.get(test.name);
  if (reason !== undefined) {
    excepted++;
    console.log(`excepted: ${test.name}: ${reason}`);
    continue;
  }
  const verdict = !(await failsAgain(test, hooked))
    ? `flaky: passes ${RERUNS} times with`
    : (await failsAgain(test, PLAIN))
      ? 'flaky: fails without, too'
      : 'FAILS ONLY WITH THE HOOK';
  if (!verdict.startsWith('flaky')) regressions++;
  console.log(`${verdict}: ${test.name}`);
  console.log(excerpt(withHook));
}

let stale = 0;
for (const { test, plain, withHook } of results) {
  if (!exceptions.has(test.name) || !plain.passed || !withHook.passed) continue;
  if (await failsAgain(test, hooked)) continue;
  stale++;
  console.log(`LISTED, AND PASSES: ${test.name}`);
}
console.log(
  `${regressions} test(s) fail only with the hook, ${excepted} more for the reasons listed${stale > 0 ? `; ${stale} listed pass` : ''}`,
);
process.exit(regressions + stale === 0 ? 0 : 1);
