// SPDX-License-Identifier: Apache-2.0
// close() while requests are under way in the workers: from outside it looks as in plain Node.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { type App, answering, fixture, freePort, multiplied, request, startApp, until } from './support/app';
import { Ledger } from './support/ledger';
import { refusing } from './support/refuse';

const HOST = '127.0.0.1';
const CLIENTS = 6;

interface Scene {
  app: App;
  ledger: Ledger;
  slow: Promise<string>[];
}

async function start(t: TestContext, hook: boolean, prefix: string[], host: string): Promise<Scene> {
  const ledger = new Ledger();
  const app = startApp(fixture('draining.js'), {
    port: await freePort(HOST),
    env: { LEDGER: ledger.path, HOST: host },
    hook,
    prefix,
  });
  t.after(() => app.stop());
  if (hook) await multiplied(app, 2, HOST);
  else await answering(app.port, HOST);
  const slow = Array.from({ length: CLIENTS }, () => request(app.port, '/slow', HOST));
  await until(() => ledger.entries.filter(({ event }) => event === 'asked').length === CLIENTS, 'all asked');
  return { app, ledger, slow };
}

async function counted({ app, ledger }: Scene): Promise<number> {
  const answers = () => ledger.of(app.pid).filter((event) => event.startsWith('connections'));
  const before = answers().length;
  process.kill(app.pid, 'SIGUSR1');
  const event = await until(() => answers()[before], 'an answer of getConnections()');
  return Number(event.split(' ')[1]);
}

/** Connects until that is refused; how many came through before. */
async function untilRefused(port: number): Promise<number> {
  let connected = 0;
  await until(async () => {
    const answer = request(port, '/', HOST).then(
      () => ++connected < 0,
      ({ code }) => code === 'ECONNREFUSED',
    );
    return answer;
  }, 'a refusal');
  return connected;
}

const NO_PROGRAM = () => refusing('setsockopt:2=51:EPERM');

for (const [name, hook, prefix, host] of [
  ['plain Node', false, () => [], HOST],
  ['the hook', true, () => [], HOST],
  ['the hook, on every address', true, () => [], '0.0.0.0'],
  ['the hook, without a steering program', true, NO_PROGRAM, HOST],
] as const) {
  describe(name, () => {
    test('while requests are under way clients are refused, another program may listen, and all are counted', async (t) => {
      const scene = await start(t, hook, prefix(), host);
      const { app, ledger, slow } = scene;
      assert.equal(await counted(scene), CLIENTS);
      process.kill(app.pid, 'SIGTERM');
      await until(() => ledger.count('closing', app.pid) === 1, 'closing');
      await untilRefused(app.port);
      const other = createServer();
      t.after(() => other.close());
      await new Promise((resolve, reject) =>
        other.on('error', reject).listen(app.port, host, resolve as never),
      );
      assert.equal(await counted(scene), CLIENTS);
      assert.equal(ledger.count('closed', app.pid), 0, 'requests are under way');
      for (const answer of slow) assert.match(await answer, /slow$/);
      assert.deepEqual(await app.ended, { code: 0, signal: null });
      assert.equal(ledger.count('closed', app.pid), 1);
    });
  });
}
