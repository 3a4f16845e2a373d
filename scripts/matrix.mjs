// SPDX-License-Identifier: Apache-2.0
// Runs the test suite on several versions of Node: node scripts/matrix.mjs [VERSION ...] [-- part of a file's name ...]
import { splitArguments } from './util/arguments.mjs';
import { nodeBinary, VERSIONS } from './util/nodes.mjs';
import { runQuietly } from './util/shell.mjs';
import { runTests } from './util/test-run.mjs';

const { names, rest } = splitArguments(process.argv.slice(2));
const results = [];
for (const wanted of names.length > 0 ? names : VERSIONS) {
  const node = nodeBinary(wanted);
  const version = runQuietly(node, ['--version']).trim();
  console.log(`\n== Node ${version}`);
  results.push({ version, passed: runTests({ node, names: rest }) === 0 });
}
console.log('');
for (const { version, passed } of results)
  console.log(`Node ${version}: ${passed ? 'all passed' : 'FAILED'}`);
process.exit(results.every(({ passed }) => passed) ? 0 : 1);
