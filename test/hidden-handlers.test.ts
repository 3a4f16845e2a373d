// SPDX-License-Identifier: Apache-2.0
// tsx hides its handlers of SIGTERM and SIGINT from process.listenerCount(). They count all the same.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { answering, childrenOf, fixture, freePort, hook, multiplied, root, startApp } from './support/app';
import { exited, noneLeft, portFree } from './support/ending';
import { Ledger } from './support/ledger';

const HOST = '127.0.0.1';

/** How an app without a handler of its own ends by SIGTERM under tsx, and what it has run by then. */
async function ending(t: TestContext, hooked: boolean) {
  const ledger = new Ledger(t);
  const app = startApp(join(root, 'node_modules/tsx/dist/cli.mjs'), {
    port: await freePort(HOST),
    hook: false,
    args: [fixture('preloads/app.js')],
    env: { LEDGER: ledger.path, ENDING: 'none', NODE_OPTIONS: hooked ? `-r ${hook}` : '' },
  });
  t.after(() => app.stop('SIGTERM'));
  if (hooked) await multiplied(app, 2, HOST);
  await answering(app.port, HOST);
  const [origin] = app.workers() as [number];
  const copies = childrenOf(origin);
  process.kill(origin, 'SIGTERM');
  const ended = await exited(app);
  await noneLeft(copies);
  assert.ok(await portFree(app.port));
  return { ended, ran: ledger.of(origin).filter((event) => event.startsWith('exit')) };
}

test('a handler that tsx hides ends the app, not the default', async (t) => {
  const plain = await ending(t, false);
  assert.deepEqual(plain, { ended: { code: 143, signal: null }, ran: ['exit 143'] });
  assert.deepEqual(await ending(t, true), plain);
});
