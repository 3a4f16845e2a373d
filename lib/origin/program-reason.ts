// SPDX-License-Identifier: Apache-2.0
// Part of the preload.

export interface ProgramFacts {
  argv: readonly string[];
  execArgv: readonly string[];
  /** NODE_TEST_CONTEXT is set in the files that `node --test` runs. */
  underTestRunner: boolean;
  /** FASTSOCKET_WORKERS is set. */
  workersAsked?: boolean;
}

/** Programs that run test files in their own process, and the pools by which they do it in others. */
const RUNNERS =
  '(?:_?mocha|ava|cypress|jasmine|jest(?:-cli|-worker)?|karma|nightwatch|playwright|qunit|tap|tape|testcafe|tinypool|uvu|vitest|wdio|workerpool)';
const SCOPED = '@(?:cucumber/cucumber|hapi/lab|playwright/test|tapjs/[^/]+|wdio/[^/]+|web/test-runner)';
/** Those whose programs are called otherwise; only where npm has put them. */
const PROGRAMS = '(?:cucumber-js|lab|web-test-runner|wtr)';
/** Cypress's own programs, among them the one in which the project's servers may be: ~/.cache/Cypress/VERSION. */
const CYPRESS = '/Cypress/resources/app/';
const TEST_RUNNER = new RegExp(
  `/node_modules/(?:${RUNNERS}|${SCOPED})/|\\bbin/${RUNNERS}$|/\\.bin/${PROGRAMS}$|${CYPRESS}`,
);
const NO_SCRIPT = /^(-e|--eval|-p|--print|-pe|-i|--interactive|--test|--check|-c)(=|$)/;

/**
 * What a test run is called, as a reason. Whatever `npm test` starts inherits the environment of a shell or a CI job, so
 * FASTSOCKET_WORKERS there says nothing of the tests; who has set it is told.
 */
export function testRun(workersAsked: boolean): string {
  return workersAsked ? 'a test run (FASTSOCKET_WORKERS does not change that)' : 'a test run';
}

/** Why this program as a whole is not one to copy: no script, the REPL, a test run. Known at the preload. */
export function programReason(facts: ProgramFacts): string | undefined {
  const { argv, execArgv, underTestRunner, workersAsked = false } = facts;
  const flag = execArgv.find((word) => NO_SCRIPT.test(word));
  if (flag !== undefined) return `node ${flag}`;
  if (argv[1] === undefined || argv[1] === '-') return 'no script to start again';
  // a copy of it would run all tests again, beside the first
  return underTestRunner || TEST_RUNNER.test(argv[1]) ? testRun(workersAsked) : undefined;
}
