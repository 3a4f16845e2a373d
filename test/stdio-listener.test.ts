// SPDX-License-Identifier: Apache-2.0
// A listener that another process has inherited, as one of its first descriptors: both accept, and neither may leave traces
// in what the other one gets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { fixture, startApp, until } from './support/app';
import { noLookInto } from './support/descriptors';
import { clients, noDelays, type Told } from './support/neighbours';
import { startOneProcess } from './support/one-process';

const CLIENTS = 400;

/** TCP_NODELAY of the connections that each side has accepted. */
function sides(
  all: readonly Told[],
  own: number,
): { own: Record<string, number>; others: Record<string, number> } {
  return {
    own: noDelays(all.filter(({ pid }) => pid === own)),
    others: noDelays(all.filter(({ pid }) => pid !== own)),
  };
}

describe('a server that a child has inherited', { skip: noLookInto }, () => {
  for (const [when, ms, first] of [
    ['from the start', '0', 0],
    ['after some have been accepted', '500', 20],
  ] as const)
    test(`${when}: TCP_NODELAY as each of them asks for it`, async (t) => {
      for (const hook of [false, true]) {
        const env = { SENT_AFTER_MS: ms };
        const app = await startOneProcess(t, 'seam-neighbours.js', { mode: 'stdio', hook, env });
        assert.deepEqual(noDelays(await clients(t, app, first)), first > 0 ? { on: first } : {});
        await until(
          () => app.stdout.includes('received'),
          () => `a child that accepts:\n${app.stderr}`,
        );
        const { own, others } = sides(await clients(t, app, CLIENTS), app.pid);
        t.diagnostic(`${hook ? 'hook' : 'plain'}: ${JSON.stringify({ own, others })}`);
        assert.deepEqual(Object.keys(own), ['on']);
        assert.deepEqual(Object.keys(others), ['off']);
        await app.stop();
      }
    });
});

/** A server of the test's that an app inherits as its descriptor 3. */
async function startHeir(t: TestContext, hook: boolean, server: Server) {
  const { port } = server.address() as { port: number };
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const app = startApp(fixture('seam-neighbours.js'), {
    port,
    hook,
    env: { MODE: 'fd', NO_DELAY: '1', FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on' },
    fds: [fd],
    stdin: 'pipe',
  });
  t.after(() => app.stop());
  await until(
    () => app.stdout.includes('listening'),
    () => `a listener:\n${app.stderr}`,
  );
  return app;
}

test('a server on an inherited descriptor is not its own', { skip: noLookInto }, async (t) => {
  for (const hook of [false, true]) {
    const server = createServer((socket: Socket & { _handle?: { fd: number } }) => {
      socket.on('error', () => {});
      socket.write(`${process.pid} ${socket._handle?.fd}\n`);
      t.after(() => socket.destroy());
    });
    server.listen({ port: 0, host: '127.0.0.1', exclusive: true });
    await once(server, 'listening');
    t.after(() => server.close());
    const app = await startHeir(t, hook, server);
    const { own, others } = sides(await clients(t, app, CLIENTS), process.pid);
    t.diagnostic(`${hook ? 'hook' : 'plain'}: ${JSON.stringify({ own, others })}`);
    assert.deepEqual(Object.keys(own), ['off']);
    assert.deepEqual(Object.keys(others), ['on']);
    await app.stop();
  }
});
