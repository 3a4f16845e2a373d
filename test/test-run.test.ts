// SPDX-License-Identifier: Apache-2.0
// Test files whose name does not tell that they are some: by what they show when they listen.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type TestFacts, testSign } from '../lib/origin/test-run';

const APP: TestFacts = {
  birth: { PATH: '/usr/bin' },
  parentEnviron: undefined,
  became: false,
  globals: { setTimeout, it: 'a word' },
  builtins: ['NativeModule net', 'NativeModule internal/test/binding'],
  modules: [
    '/home/me/mocha/server.js',
    '/home/me/node_modules/playwright/index.js',
    '/node_modules/tapable/a.js',
    '/node_modules/uvu/assert/index.js',
  ],
};

const nothing = () => {};

describe('what shows a test run', () => {
  const SIGNS: [sign: string, facts: Partial<TestFacts>][] = [
    ['by its environment', { became: true }],
    ['started with TAP', { birth: { TAP: '1' }, parentEnviron: 'PATH=/usr/bin\0TAPE=1' }],
    ['started with WDIO_WORKER_ID', { birth: { WDIO_WORKER_ID: '0-0' }, parentEnviron: '' }],
    ['node:test is loaded', { builtins: ['NativeModule test'] }],
    ['there are describe() and it()', { globals: { describe: nothing, it: nothing } }],
    ['there are suite() and test()', { globals: { suite: nothing, test: nothing } }],
    ['tape is loaded', { modules: ['/a.js', '/home/me/node_modules/tape/index.js'] }],
    ['@hapi/lab is loaded', { modules: ['/home/me/node_modules/@hapi/lab/lib/index.js'] }],
  ];
  for (const [sign, facts] of SIGNS) test(sign, () => assert.equal(testSign({ ...APP, ...facts }), sign));
});

describe('what does not', () => {
  const OTHERS: [name: string, facts: Partial<TestFacts>][] = [
    ['an app', {}],
    ['a server that a test has started', { birth: { TAP: '1' }, parentEnviron: 'PATH=/usr/bin\0TAP=1\0' }],
    ['one whose parent nobody may look at', { birth: { TAP: '1' } }],
    ['half an interface', { globals: { describe: nothing, test: nothing } }],
  ];
  for (const [name, facts] of OTHERS)
    test(name, () => assert.equal(testSign({ ...APP, ...facts }), undefined));

  test('a getter of the app is not called', () => {
    const globals = {
      get describe() {
        return assert.fail('called');
      },
      it: nothing,
    };
    assert.equal(testSign({ ...APP, globals }), undefined);
  });
});
