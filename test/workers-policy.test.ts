// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { callReason } from '../lib/origin/call-reason';
import { programReason } from '../lib/origin/program-reason';
import { countDeath, FORGIVEN_AFTER_MS, LONGEST_DELAY_MS, respawnDelay } from '../lib/workers/backoff';
import { shiftInspectPort, shiftPort, singleProcessFlag } from '../lib/workers/inspect';

describe('replacing a worker', () => {
  test('the first replacement is immediate, later ones wait twice as long each, up to a bound', () => {
    assert.deepEqual([1, 2, 3, 4, 5].map(respawnDelay), [0, 100, 200, 400, 800]);
    assert.equal(respawnDelay(50), LONGEST_DELAY_MS);
  });

  test('a worker that served for a while is forgiven its predecessors', () => {
    assert.equal(countDeath(0, 0), 1);
    assert.equal(countDeath(5, 100), 6);
    assert.equal(countDeath(5, FORGIVEN_AFTER_MS), 1);
  });

  test('a crash loop starts at most a dozen processes in its first minute', () => {
    let starts = 1;
    for (let at = 0, deaths = 1; ; deaths++) {
      at += respawnDelay(deaths);
      if (at > 60_000) break;
      starts++;
    }
    assert.ok(starts <= 13, `${starts} starts`);
  });
});

describe('inspector flags', () => {
  test('worker k takes the base port + k, the host stays', () => {
    assert.equal(shiftPort(undefined, 2), '9231');
    assert.equal(shiftPort('9300', 1), '9301');
    assert.equal(shiftPort('0.0.0.0:9300', 3), '0.0.0.0:9303');
    assert.equal(shiftPort('0', 3), '0');
    assert.equal(shiftPort('localhost', 1), 'localhost:9230');
  });

  test('in execArgv and in NODE_OPTIONS', () => {
    const { env, execArgv } = shiftInspectPort(
      { NODE_OPTIONS: '--inspect=9400 -r x' },
      ['--inspect-brk', '-r', 'y'],
      2,
    );
    assert.deepEqual(execArgv, ['--inspect-brk=9231', '-r', 'y']);
    assert.equal(env['NODE_OPTIONS'], '--inspect=9402 -r x');
  });

  test('flags that mean one process', () => {
    assert.equal(singleProcessFlag(['--inspect=0'], undefined), '--inspect=0');
    assert.equal(singleProcessFlag([], '-r x --cpu-prof'), '--cpu-prof');
    assert.equal(singleProcessFlag(['--inspect-port=1', '--cpu-prof-dir=x'], ''), undefined);
    const trace = ['--trace-event-categories', 'node.http'];
    assert.equal(singleProcessFlag(trace, undefined), '--trace-event-categories');
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Node's own
    const pattern = ['--trace-event-file-pattern', 'trace-${pid}.log'];
    assert.equal(singleProcessFlag([...trace, ...pattern], undefined), undefined);
    assert.equal(singleProcessFlag([...trace, pattern.join('=')], undefined), undefined);
    assert.equal(singleProcessFlag([...trace, ...pattern, '--prof'], undefined), '--prof');
    // biome-ignore lint/suspicious/noTemplateCurlyInString: another flag's
    assert.equal(singleProcessFlag([...trace, '--report-filename=${pid}'], undefined), trace[0]);
    assert.equal(singleProcessFlag(['--cpu_prof'], undefined), '--cpu_prof');
  });
});

describe('what is never multiplied', () => {
  const program = { argv: ['node', '/app.js'], execArgv: [] as string[], underTestRunner: false };

  test('programs without a script, and test runs', () => {
    assert.equal(programReason(program), undefined);
    assert.ok(programReason({ ...program, argv: ['node'] }));
    assert.ok(programReason({ ...program, execArgv: ['-r', 'x', '-e', '1'] }));
    assert.ok(programReason({ ...program, execArgv: ['--test'] }));
    assert.ok(programReason({ ...program, underTestRunner: true }));
    assert.equal(
      programReason({ ...program, execArgv: ['--experimental-test-coverage', '--enable-source-maps'] }),
      undefined,
    );
  });

  test('programs that run tests, whichever way they are started', () => {
    const modules = '/home/me/app/node_modules';
    for (const script of [
      `${modules}/.bin/jest`,
      `${modules}/jest/bin/jest.js`,
      `${modules}/jest-worker/build/processChild.js`,
      `${modules}/.pnpm/vitest@4.1.12/node_modules/vitest/dist/workers/forks.js`,
      `${modules}/mocha/bin/_mocha`,
      `${modules}/.bin/playwright`,
      `${modules}/@playwright/test/cli.js`,
      `${modules}/@tapjs/run/dist/esm/index.js`,
      `${modules}/@wdio/local-runner/build/run.js`,
      `${modules}/karma/bin/karma`,
      `${modules}/.bin/cucumber-js`,
      '/home/me/.cache/Cypress/14.0.0/Cypress/resources/app/packages/server/lib/plugins/child/require_async_child.js',
      '/usr/local/bin/vitest',
    ])
      assert.equal(programReason({ ...program, argv: ['node', script] }), 'a test run', script);
    for (const script of [
      '/home/me/jest/server.js',
      '/home/me/bin/tape.js',
      `${modules}/.bin/fastify`,
      `${modules}/jest-server/index.js`,
      `${modules}/@playwright/experimental/server.js`,
      '/home/me/bin/lab',
      '/home/me/cypress/app/server.js',
      '/home/me/vitest',
    ])
      assert.equal(programReason({ ...program, argv: ['node', script] }), undefined, script);
  });

  test('of a number of workers that is not obeyed the reason speaks', () => {
    const asked = { ...program, workersAsked: true };
    const reason = 'a test run (FASTSOCKET_WORKERS does not change that)';
    assert.equal(programReason({ ...asked, underTestRunner: true }), reason);
    assert.equal(programReason(asked), undefined);
  });

  test('calls that ask for a socket of their own', () => {
    assert.equal(callReason({}), undefined);
    for (const options of [
      { exclusive: true },
      { reusePort: true },
      { fd: 3 },
      { handle: {} },
      { _handle: {} },
    ]) {
      assert.ok(callReason(options), JSON.stringify(options));
    }
  });
});
