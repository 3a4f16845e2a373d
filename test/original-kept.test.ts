// SPDX-License-Identifier: Apache-2.0
// A copy may not end the original before it has come to listen (uncopyable.test.ts). Afterwards it may, as README tells apps.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, freePort, multiplied, request, startApp, until } from './support/app';

const HOST = '127.0.0.1';

for (const way of ['process.kill', 'execFile', 'execFileSync'])
  test(`a worker that serves ends the app by ${way}`, async (t) => {
    const port = await freePort(HOST);
    const app = startApp(fixture('ending-app.js'), { port });
    t.after(() => app.stop());
    await multiplied(app, 2, HOST);
    await until(async () => {
      await request(port, `/${way}`, HOST).catch(() => {});
      return app.child.exitCode !== null || app.child.signalCode !== null;
    }, 'the end of the app');
    assert.deepEqual(await app.ended, { code: null, signal: 'SIGTERM' });
  });
