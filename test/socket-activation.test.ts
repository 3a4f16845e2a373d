// SPDX-License-Identifier: Apache-2.0
// A server on a socket that systemd, or whoever has started the app, has opened: it stays one process, and says why.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fixture, freePort, multiplied, request, root, startApp, until } from './support/app';
import { noLookInto } from './support/descriptors';

const HOST = '127.0.0.1';

/** An app that has a listening socket as its descriptor 3. */
async function start(t: TestContext, env: Record<string, string> = {}) {
  const opened = createServer().listen({ port: 0, host: HOST, exclusive: true });
  await once(opened, 'listening');
  const { port: given } = opened.address() as { port: number };
  const { fd } = (opened as unknown as { _handle: { fd: number } })._handle;
  const app = startApp(fixture('heir-app.js'), {
    port: await freePort(HOST),
    env: { ROOT: root, ...env },
    fds: [fd],
  });
  t.after(() => app.stop());
  await until(() => app.stdout.includes('\n'), 'a listener');
  opened.close();
  return { app, given };
}

test('an app that listens on an inherited socket alone: one process, with the reason', {
  skip: noLookInto,
}, async (t) => {
  const { app, given } = await start(t);
  assert.match(await request(given, '/', HOST), new RegExp(`pid ${app.pid}\n$`));
  await app.said(/listen\(\) is left to Node: listens on a file descriptor/);
  const [first = ''] = app.stdout.split('\n');
  assert.deepEqual(JSON.parse(first), {
    pid: app.pid,
    active: false,
    reason: 'listens on a file descriptor',
  });
});

test('an app that listens on a port of its own, too: that one is multiplied, and no reason is left', {
  skip: noLookInto,
}, async (t) => {
  const { app } = await start(t, { BOTH: '1' });
  await multiplied(app, 2, HOST);
  await until(
    () => app.stdout.includes(JSON.stringify({ pid: app.pid, active: true })),
    () => `an active origin without a reason:\n${app.stdout}`,
  );
});
