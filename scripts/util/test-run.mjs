// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { inTurns } from './beside.mjs';
import { FILE_LIMIT, FILE_LIMIT_MS } from './file-limit.mjs';
import { filesBelow, temporaryFolder } from './files.mjs';
import { passesInTheEnd } from './second-run.mjs';
import { fail, root, run } from './shell.mjs';

/** A test that has not ended after this long has hung: the slowest take well under a minute. */
const TIMEOUT_MS = 300_000;

/** Names of environment variables that would change what the tests see. */
const DISTURBING =
  /^(FASTSOCKET.*|WEB_CONCURRENCY|NODE_OPTIONS|NODE_DEBUG|NODE_UNIQUE_ID|NODE_CHANNEL_FD|NODE_TEST_CONTEXT)$/;

/** The environment without what would change the behaviour of the hook in the programs under test. */
export function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !DISTURBING.test(name)));
}

/**
 * Runs the compiled tests by Node's own runner and returns its exit status. Few at a time, and one at a time of those
 * that measure (beside.mjs). In CI what fails is run once more, alone (second-run.mjs).
 */
export function runTests({
  node = process.execPath,
  folder = join(root, 'build/test'),
  names = [],
  runnerArguments = [],
  limitMs = FILE_LIMIT_MS,
} = {}) {
  const all = filesBelow(folder).filter((path) => path.endsWith('.test.js'));
  const files = all.filter(
    (path) => names.length === 0 || names.some((name) => basename(path).includes(name)),
  );
  if (files.length === 0) fail(`no test file in ${folder} matches ${names.join(' ') || '*.test.js'}`);
  const list = join(temporaryFolder(), 'failed');
  const options = ['--test', `--test-timeout=${TIMEOUT_MS}`];
  const report = (reporter, destination) =>
    options.push(`--test-reporter=${reporter}`, `--test-reporter-destination=${destination}`);
  report(join(root, 'scripts/util/failed-files.mjs'), list);
  const given = (option) => runnerArguments.some((argument) => argument.startsWith(option));
  if (!given('--test-reporter=')) report('spec', 'stdout');
  else if (!given('--test-reporter-destination')) options.push('--test-reporter-destination=stdout');
  const env = { ...cleanEnvironment(), [FILE_LIMIT]: `${limitMs}` };
  const attempt = ({ files: some, width }) => {
    const words = [...options, `--test-concurrency=${width}`, ...runnerArguments, ...some];
    if (run(node, words, { env }) === 0) return [];
    const failed = readFileSync(list, 'utf8').split('\n');
    const known = some.filter((file) => failed.includes(file));
    // the runner itself has failed
    return known.length > 0 ? known : some;
  };
  return passesInTheEnd(inTurns(files), attempt) ? 0 : 1;
}
