// SPDX-License-Identifier: Apache-2.0
import { basename, join } from 'node:path';
import { filesBelow } from './files.mjs';
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
 * Runs the compiled tests by Node's own runner and returns its exit status. One file at a time: many of them measure
 * time or CPU, or count the processes they see.
 */
export function runTests({ node = process.execPath, names = [], runnerArguments = [] } = {}) {
  const all = filesBelow(join(root, 'build/test')).filter((path) => path.endsWith('.test.js'));
  const files = all.filter(
    (path) => names.length === 0 || names.some((name) => basename(path).includes(name)),
  );
  if (files.length === 0) fail(`no test file matches ${names.join(' ') || 'build/test/*.test.js'}`);
  const options = ['--test', '--test-concurrency=1', `--test-timeout=${TIMEOUT_MS}`];
  if (!runnerArguments.some((argument) => argument.startsWith('--test-reporter')))
    options.push('--test-reporter=spec');
  return run(node, [...options, ...runnerArguments, ...files], { env: cleanEnvironment() });
}
