// SPDX-License-Identifier: Apache-2.0
// Callbacks that wait for the workers run in the async context in which they would run without them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, Server } from 'node:net';
import { after, describe, type TestContext, test } from 'node:test';
import { hookGetConnections } from '../lib/hook/node';
import { fixture, freePort, hook, startApp, until } from './support/app';
import { exited } from './support/ending';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';

/** What the app says when it counts its connections and closes. */
async function said(t: TestContext, when: string, flags: false | string[]): Promise<string[]> {
  const port = await freePort(HOST);
  const app = startApp(fixture('contexts-app.js'), { port, hook: flags, env: { HOST, WHEN: when } });
  t.after(() => app.stop());
  // the process that was started serves as long as it is alone
  const client = await until(async () => {
    const socket = connect(port, HOST);
    return once(socket, 'connect').then(
      () => socket,
      () => undefined,
    );
  }, `a connection:\n${app.stderr}`);
  t.after(() => client.destroy());
  client.on('error', () => {});
  if (flags) {
    await app.said(/worker 1 is ready/);
    await app.said(/worker 2 is ready/);
  }
  process.kill(app.pid, 'SIGUSR1');
  const lines = () => app.stdout.split('\n').filter(Boolean);
  await until(() => lines().some((line) => line.startsWith('closes')), 'close()');
  if (when === 'by the client') {
    assert.ok(!app.stdout.includes('close(callback)'));
    client.end();
  }
  assert.deepEqual(await exited(app), { code: 0, signal: null });
  return lines();
}

const bare = new PackageWithoutAddon();
after(() => bare.remove());

describe('getConnections(callback), close(callback) and its event', () => {
  for (const when of ['before the close', 'in the same tick', 'by the client']) {
    test(`a connection ends ${when}`, async (t) => {
      const plain = await said(t, when, false);
      assert.equal(plain.length, 6);
      t.diagnostic(plain.join('; '));
      for (const flags of [['-r', hook], ...Object.values(bare.means)])
        assert.deepEqual((await said(t, when, flags)).sort(), plain.sort(), flags.join(' '));
    });
  }
});

test('getConnections(callback) calls back in a later tick also where the answer is known at once', async (t) => {
  const { getConnections } = Server.prototype;
  t.after(() => {
    Server.prototype.getConnections = getConnections;
  });
  hookGetConnections((_server, own, callback) => {
    callback(null, own + 7);
    return true;
  });
  const server = createServer();
  const order: unknown[] = [];
  await new Promise<void>((resolve) => {
    server.getConnections((...answer) => {
      order.push(answer);
      resolve();
    });
    order.push('asked');
  });
  assert.deepEqual(order, ['asked', [null, 7]]);
  // as plain Node says it
  assert.throws(() => server.getConnections(undefined as never), { code: 'ERR_INVALID_ARG_TYPE' });
});
