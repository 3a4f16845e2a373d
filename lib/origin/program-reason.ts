// SPDX-License-Identifier: Apache-2.0
// Part of the preload.

export interface ProgramFacts {
  argv: readonly string[];
  execArgv: readonly string[];
  /** NODE_TEST_CONTEXT is set in the files that `node --test` runs. */
  underTestRunner: boolean;
}

/** Programs that run test files in their own process, and the pools by which they do it in others. */
const RUNNERS =
  '(?:_?mocha|ava|jasmine|jest(?:-cli|-worker)?|playwright|qunit|tap|tape|tinypool|uvu|vitest|workerpool)';
const TEST_RUNNER = new RegExp(`/node_modules/${RUNNERS}/|\\bbin/${RUNNERS}$`);
const NO_SCRIPT = /^(-e|--eval|-p|--print|-pe|-i|--interactive|--test|--check|-c)(=|$)/;

/** Why this program as a whole is not one to copy: no script, the REPL, a test run. Known at the preload. */
export function programReason({ argv, execArgv, underTestRunner }: ProgramFacts): string | undefined {
  const flag = execArgv.find((word) => NO_SCRIPT.test(word));
  if (flag !== undefined) return `node ${flag}`;
  if (argv[1] === undefined || argv[1] === '-') return 'no script to start again';
  // a copy of it would run all tests again, beside the first
  return underTestRunner || TEST_RUNNER.test(argv[1]) ? 'a test run' : undefined;
}
