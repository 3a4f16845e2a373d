// SPDX-License-Identifier: Apache-2.0
// Runs the test suite: node scripts/test.mjs [--node PATH] [part of a file's name ...] [-- options of node --test]

import { splitArguments } from './util/arguments.mjs';
import { runTests } from './util/test-run.mjs';

const { options, names, rest } = splitArguments(process.argv.slice(2), { node: 'path' });
process.exit(runTests({ node: options.node, names, runnerArguments: rest }));
