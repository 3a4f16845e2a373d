// SPDX-License-Identifier: Apache-2.0
// A signal to the whole process group while the first copy starts: it reaches the copy before its handlers are there.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type App, fixture, freePort, multiplied, startApp } from './support/app';
import { exited, portFree } from './support/ending';
import { Ledger } from './support/ledger';
import { noted } from './support/signals';

const MOMENTS_MS = [0, 10, 20, 30, 40, 60, 80];

async function signalled(
  t: TestContext,
  signal: NodeJS.Signals,
  handler: string,
  ms: number,
): Promise<{ app: App; ledger: Ledger }> {
  const ledger = new Ledger();
  const app = startApp(fixture('signals-app.js'), {
    port: await freePort(),
    detached: true,
    env: { LEDGER: ledger.path, HANDLER: handler },
  });
  t.after(() => app.stop());
  await app.said(/a first copy is started/);
  await sleep(ms);
  process.kill(-app.pid, signal);
  return { app, ledger };
}

/** What the app and we have to say to the user. */
const said = (app: App): string => app.stderr.replace(/^FASTSOCKET .*\n/gm, '');

describe('a signal while the first copy starts', () => {
  test('SIGHUP as a reload does not end multiplying', async (t) => {
    for (const ms of [0, 20, 40, 60]) {
      const { app, ledger } = await signalled(t, 'SIGHUP', 'note', ms);
      await multiplied(app, 2, '127.0.0.1');
      assert.equal(said(app), '');
      assert.equal(ledger.count(noted('SIGHUP'), app.pid), 1);
      await app.stop();
    }
  });

  for (const [handler, expected] of [
    ['graceful', { code: 0, signal: null }],
    ['late', { code: 5, signal: null }],
    ['none', { code: null, signal: 'SIGINT' }],
  ] as const) {
    test(`SIGINT ends the app as it ends plain Node, with nothing said: handler "${handler}"`, async (t) => {
      for (const ms of MOMENTS_MS) {
        const { app } = await signalled(t, 'SIGINT', handler, ms);
        assert.deepEqual(await exited(app), expected);
        assert.ok(await portFree(app.port));
        await app.ended;
        assert.equal(said(app), '');
      }
    });
  }
});
