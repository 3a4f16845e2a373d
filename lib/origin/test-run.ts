// SPDX-License-Identifier: Apache-2.0
// What can be seen of a test run at the first listen(), whatever the program's name is; program-reason.ts knows some names.
import { becameTestRunner } from '../config/environment';
import type { ReadText } from '../cpu/read';

export interface TestFacts {
  /** Environment that the program was started with. */
  birth: Readonly<Record<string, string>>;
  /** The same of the process that has started it, as in proc(5); undefined where it cannot be read. */
  parentEnviron: string | undefined;
  /** It has set a variable by which runners tell the tests that they run in one. */
  became: boolean;
  globals: object;
  /** process.moduleLoadList */
  builtins: readonly string[];
  /** Files of the modules that it has required. */
  modules: readonly string[];
}

/** Runners set these for the files that they start (tap; wdio), and whatever those start has them, too. */
const OF_TEST_FILES = ['TAP', 'WDIO_WORKER_ID'];

/** What mocha, jasmine and others put on the global object, by their interface. */
const INTERFACES = [
  ['describe', 'it'],
  ['suite', 'test'],
];

/** Nobody needs them but to run tests. Of playwright that cannot be said. */
const FRAMEWORKS = [
  'ava',
  'jasmine-core',
  'karma',
  'mocha',
  'qunit',
  'tap',
  'tape',
  // not its uvu/assert, which micromark's development builds use
  'uvu/dist',
  'zora',
  '@cucumber/cucumber',
  '@hapi/lab',
  '@tapjs/core',
  '@wdio/runner',
  '@web/test-runner-core',
];
const FRAMEWORK = new RegExp(`/node_modules/(${FRAMEWORKS.join('|')})/`);

/** It was set for this program, not for one that has started it in its turn. */
function isGiven(name: string, { birth, parentEnviron }: TestFacts): boolean {
  if (birth[name] === undefined || parentEnviron === undefined) return false;
  return !parentEnviron.split('\0').some((entry) => entry.startsWith(`${name}=`));
}

const isFunction = (globals: object, name: string): boolean =>
  typeof Object.getOwnPropertyDescriptor(globals, name)?.value === 'function';

/** By what this program shows that it runs tests: a copy would run them all again. undefined: by nothing. */
export function testSign(facts: TestFacts): string | undefined {
  const { became, builtins, globals, modules } = facts;
  if (became) return 'by its environment';
  const given = OF_TEST_FILES.find((name) => isGiven(name, facts));
  if (given !== undefined) return `started with ${given}`;
  if (builtins.includes('NativeModule test')) return 'node:test is loaded';
  const found = INTERFACES.find((names) => names.every((name) => isFunction(globals, name)));
  if (found) return `there are ${found.join('() and ')}()`;
  for (const file of modules) {
    const framework = FRAMEWORK.exec(file)?.[1];
    if (framework !== undefined) return `${framework} is loaded`;
  }
  return undefined;
}

export function testFacts(birth: Readonly<Record<string, string>>, read: ReadText): TestFacts {
  const { moduleLoadList = [] } = process as unknown as { moduleLoadList?: string[] };
  const { _cache = {} } = require('node:module') as { _cache?: object };
  return {
    birth,
    parentEnviron: OF_TEST_FILES.some((name) => birth[name] !== undefined)
      ? read(`/proc/${process.ppid}/environ`)
      : undefined,
    became: becameTestRunner(birth),
    globals: globalThis,
    builtins: moduleLoadList,
    modules: Object.keys(_cache),
  };
}
