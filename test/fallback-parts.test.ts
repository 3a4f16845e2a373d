// SPDX-License-Identifier: Apache-2.0
// The parts of the fallback that need no tree of processes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { meansOf, type NoticeFacts, describe as notice } from '../lib/fallback/plan';
import { pretendedHandle } from '../lib/fallback/pretended';
import { affinityOf, alive, ignored, waitGone } from '../lib/fallback/processes';
import { findProgram, lifelineWords, tasksetFailure, tasksetWords } from '../lib/fallback/programs';
import type { TcpBinding } from '../lib/hook/tcp';

describe('what the user is told', () => {
  const facts: NoticeFacts = {
    missing: 'the addon could not be loaded (no such file)\nRequire stack:',
    means: 'shared',
    workers: 4,
    nodeVersion: '20.1.0',
    unpinned: undefined,
    tied: true,
    byAddress: false,
  };

  test('one line: what is missing, what is done instead, what is lost', () => {
    assert.equal(
      notice(facts),
      'the addon could not be loaded (no such file); 4 workers on one shared socket (Node 20.1.0 has no reusePort), ' +
        'pinned by taskset as a whole, their thread pools and started programs too. ' +
        'Lost: steering by CPU; the origin serves beside its workers',
    );
  });

  test('each difference has its words', () => {
    assert.match(notice({ ...facts, means: 'reuseport' }), /4 workers with a reusePort socket each, pinned/);
    assert.match(
      notice({ ...facts, unpinned: 'taskset had no effect' }),
      /, not pinned: taskset had no effect\. Lost/,
    );
    assert.match(notice({ ...facts, tied: false }), /; a blocked worker can outlive it$/);
    assert.match(notice({ ...facts, byAddress: true }), /Lost: steering by the client's address;/);
  });

  test('the means follow from what this Node can bind', () => {
    const binding = (constants: object) => ({ constants }) as TcpBinding;
    assert.equal(meansOf(binding({ UV_TCP_IPV6ONLY: 1 })), 'shared');
    assert.equal(meansOf(binding({ UV_TCP_IPV6ONLY: 1, UV_TCP_REUSEPORT: 2 })), 'reuseport');
  });
});

describe('processes', () => {
  const status = (text: string) => () => text;

  test('masks and ignored signals are read from /proc', () => {
    assert.deepEqual(affinityOf('self', status('Name:\tnode\nCpus_allowed_list:\t0-1,4\n')), [0, 1, 4]);
    assert.deepEqual(
      affinityOf('self', () => undefined),
      [],
    );
    const hangup = status('SigIgn:\t0000000000001001\n');
    assert.deepEqual(
      [1, 2, 13, 15].map((signal) => ignored(signal, hangup)),
      [true, false, true, false],
    );
    assert.equal(ignored(34, status('SigIgn:\t0000000200000000\n')), true);
    assert.equal(
      ignored(1, () => undefined),
      false,
    );
  });

  test('a zombie does not count as alive', () => {
    assert.equal(alive(1, status('State:\tS (sleeping)\n')), true);
    assert.equal(alive(1, status('State:\tZ (zombie)\n')), false);
    assert.equal(
      alive(1, () => undefined),
      false,
    );
  });

  test('waitGone counts those that are still there', async () => {
    const child = spawn('sleep', ['30'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const pid = child.pid as number;
    assert.equal(waitGone(20, [pid]), 1);
    child.kill('SIGKILL');
    // the loop does not run meanwhile, so the child stays a zombie
    assert.equal(waitGone(5_000, [pid]), 0);
    await once(child, 'exit');
  });
});

describe('programs', () => {
  test('taskset gets a mask that is right for CPUs above 31 and 63, too', () => {
    assert.deepEqual(
      [0, 3, 32, 64].map((cpu) => tasksetWords('taskset', cpu)[1]),
      ['1', '8', '100000000', '10000000000000000'],
    );
  });

  test('what PATH does not have is not found', () => {
    assert.equal(findProgram('sh', '/nonexistent:/bin'), '/bin/sh');
    assert.equal(findProgram('sh', '/nonexistent'), undefined);
    assert.equal(findProgram('sh', undefined), undefined);
    assert.deepEqual(lifelineWords('/nonexistent'), []);
  });

  test('a taskset that cannot be run has a reason', () => {
    assert.match(tasksetFailure('/nonexistent/taskset', 0) ?? '', /^taskset could not be run \(.*ENOENT/);
    assert.match(tasksetFailure('/bin/false', 0) ?? '', /^taskset failed \(status 1\)$/);
  });
});

test('a pretended listener has the address that was asked for', () => {
  let closed = 0;
  const handle = pretendedHandle('6!|::1|8080', () => closed++);
  const name = {};
  assert.equal(handle.getsockname(name), 0);
  assert.deepEqual(name, { address: '::1', family: 'IPv6', port: 8080 });
  assert.equal(handle.listen(), 0);
  handle.close();
  assert.equal(closed, 1);
});
