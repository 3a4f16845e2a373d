// SPDX-License-Identifier: Apache-2.0
// The setting with which Node's own tests judge the listener groups: scripts/node-suite.mjs.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SETTLED_MS } from '../lib/workers/lifecycle';
import { answeredBy, fixture, hook, request, root, startApp } from './support/app';
import { portFree } from './support/ending';

const GROUP = /listener group \S+\|(\d+): 2 sockets, steered/;

for (const how of ['free', 'held']) {
  test(`${how}: port 0 opens a listener group, and nothing is forked`, async (t) => {
    const app = startApp(fixture('http-app.js'), { port: 0, env: { FASTSOCKET_TEST_GROUPS: how } });
    t.after(() => app.stop());
    const port = Number((await app.said(GROUP))[1]);
    assert.match(await request(port), /hello/);
    await sleep(3 * SETTLED_MS);
    assert.deepEqual(app.workers(), []);
    assert.match(await request(port, '/close'), /hello/);
    assert.deepEqual(await app.ended, { code: 0, signal: null });
    assert.ok(await portFree(port));
    assert.doesNotMatch(app.stderr, /first copy/);
    assert.equal(/has closed/.test(app.stderr), how === 'held', app.stderr);
  });
}

test('worker: port 0 is a socket of the origin', async (t) => {
  const origin = join(root, 'scripts/util/judging-origin.cjs');
  const app = startApp(origin, {
    port: 0,
    hook: false,
    args: ['-r', hook, fixture('http-app.js')],
    env: { FASTSOCKET_TEST_GROUPS: 'worker' },
  });
  t.after(() => app.stop());
  // what comes before is the origin's, which serves nobody
  const port = Number((await app.said(/\S+\|(\d+) is open/))[1]);
  assert.deepEqual(app.workers(), [answeredBy(await request(port))]);
  assert.match(await request(port, '/close'), /hello/);
  assert.deepEqual(await app.ended, { code: 0, signal: null });
  assert.match(app.stderr, /closes here/);
});

test('without it port 0 is left to Node', async (t) => {
  const app = startApp(fixture('stops-app.js'), {
    port: 0,
    env: { END: 'close', AFTER: '300', WHO: 'origin' },
  });
  t.after(() => app.stop());
  assert.deepEqual(await app.ended, { code: 0, signal: null });
  assert.doesNotMatch(app.stderr, /listener group/);
});
