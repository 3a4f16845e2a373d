// SPDX-License-Identifier: Apache-2.0
// A system call is refused that the origin makes when it ends: it ends as plain Node does, its workers go with it, and
// their port is free.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { lives, until } from './support/app';
import { refusing } from './support/refuse';
import { errnosOf, Sandboxed, Target } from './support/sandbox';

const HOST = '127.0.0.1';
const target = new Target();

const ROWS: [rule: string, name: string, says?: RegExp][] = [
  ['kill:1=9', 'kill'],
  ['shutdown:1=0', 'shutdown'],
  ['pidfd_open', 'pidfd_open'],
  ['poll:1=0,2=1', 'poll, between two looks'],
  ['poll:1=2', 'poll, until two workers have ended', /queue stands still: poll fails/],
];

/** By a signal that the app does not handle, and by process.exit(). */
const ENDS = [
  ['SIGINT', { code: null, signal: 'SIGINT' }],
  ['SIGUSR2', { code: 0, signal: null }],
] as const;

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, HOST, () => server.close(() => resolve(true)));
  });
}

test('a signal that ends the process is raised in whatever thread where its own cannot be named', {
  timeout: 30_000,
}, async (t) => {
  const sandboxed = await Sandboxed.start(t, target, { prefix: refusing('tgkill:EPERM') });
  const { app } = sandboxed;
  const workers = await sandboxed.settled();
  await sandboxed.servedByEach(workers);
  assert.deepEqual(await app.stop('SIGHUP'), { code: null, signal: 'SIGHUP' }, app.stderr);
  await until(() => !workers.some(lives), `the end of ${workers}`);
  assert.equal(sandboxed.reasons.length, 0, app.stderr);
});

test('a worker that is to end by a signal, and is told of it only', async (t) => {
  const prefix = refusing('rt_sigqueueinfo:EPERM');
  const sandboxed = await Sandboxed.start(t, target, { prefix, env: { ENDS_ONE: '1' } });
  const { app } = sandboxed;
  const workers = await sandboxed.settled();
  await sandboxed.servedByEach(workers);
  app.child.kill('SIGHUP');
  await sandboxed.named([app.pid], /told of a signal only: sigqueue fails/);
  await until(() => workers.filter(lives).length === 1, 'the end of one worker');
  await until(() => app.workers().length === 2, 'its successor');
  await sandboxed.servedByEach(app.workers());
  await sandboxed.ends();
  assert.equal(sandboxed.reasons.length, 1, app.stderr);
});

describe('refused, one at a time', { concurrency: 2 }, () => {
  ROWS.forEach(([rule, name, says], i) => {
    for (const errno of errnosOf(i))
      for (const [signal, expected] of ENDS)
        test(`${name}, by ${signal}: ${errno}`, async (t) => {
          const sandboxed = await Sandboxed.start(t, target, { prefix: refusing(`${rule}:${errno}`) });
          const { app } = sandboxed;
          const workers = await sandboxed.settled();
          assert.equal(workers.length, 2);
          await sandboxed.servedByEach(workers);
          if (says) await sandboxed.named([app.pid], says);
          assert.deepEqual(await app.stop(signal), expected, app.stderr);
          await until(
            () => !workers.some(lives),
            () => `the end of ${workers}`,
          );
          await until(() => isFree(app.port), 'a free port');
          assert.equal(sandboxed.reasons.length, says ? 1 : 0, app.stderr);
          assert.deepEqual(sandboxed.loud, []);
        });
  });
});
