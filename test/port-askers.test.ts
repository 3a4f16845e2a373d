// SPDX-License-Identifier: Apache-2.0
// Programs that ask whether their port is taken before they listen: in a copy the origin would answer.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { type App, answering, fixture, freePort, multiplied, startApp, until } from './support/app';
import { Ledger } from './support/ledger';

interface Way {
  way: string;
  to?: string;
  host?: string;
}

async function start(t: TestContext, { way, to = '127.0.0.1', host = to }: Way, hook: boolean) {
  const ledger = new Ledger(t);
  const port = await freePort();
  const env = { LEDGER: ledger.path, WAY: way, TO: to, HOST: host };
  const app = startApp(fixture('port-askers.js'), { port, env, hook });
  t.after(() => app.stop());
  return { app, ledger };
}

/** What a process has noted, on whatever port. */
const story = (ledger: Ledger, { port }: App, pid: number): string[] =>
  ledger.of(pid).map((event) => event.replaceAll(String(port), 'PORT'));

const own = Object.values(networkInterfaces())
  .flat()
  .find((one) => one && !one.internal && one.family === 'IPv4')?.address;

const WAYS: (Way & { name: string; skip?: string | false })[] = [
  { name: 'by a connection', way: 'connect' },
  { name: 'by its name', way: 'connect', to: 'localhost', host: '::' },
  { name: 'by a request', way: 'request' },
  { name: 'twice', way: 'connect twice' },
  { name: 'before and after it has listened there', way: 'connect, listen, connect' },
  {
    name: 'at an address of the machine',
    way: 'connect',
    to: own ?? '',
    host: '0.0.0.0',
    skip: own === undefined && 'it has none',
  },
];

describe('a program that asks whether its port is taken is multiplied', { concurrency: 2 }, () => {
  for (const { name, skip = false, ...way } of WAYS) {
    test(name, { skip }, async (t) => {
      const plain = await start(t, way, false);
      await answering(plain.app.port, way.to);
      const expected = story(plain.ledger, plain.app, plain.app.pid);
      assert.match(expected[0] ?? '', /ECONNREFUSED/);
      const { app, ledger } = await start(t, way, true);
      const workers = await multiplied(app, 2, way.to);
      assert.equal(workers.length, 2);
      for (const pid of [app.pid, ...workers]) assert.deepEqual(story(ledger, app, pid), expected);
    });
  }
});

describe('an app that speaks to itself', { concurrency: 2 }, () => {
  test('gets through as soon as it listens', async (t) => {
    const { app, ledger } = await start(t, { way: 'poll' }, true);
    const workers = await multiplied(app);
    for (const pid of [app.pid, ...workers]) {
      await until(() => ledger.of(pid).some((event) => event.startsWith('connected')), 'an answer');
      assert.equal(ledger.of(pid).filter((event) => /REFUSED.*while it listens/.test(event)).length, 0);
    }
  });

  test('gets through before it listens, where the origin has not asked', async (t) => {
    const { app, ledger } = await start(t, { way: 'client' }, true);
    for (const pid of await multiplied(app))
      assert.deepEqual(ledger.of(pid), ['answered by another', 'listens on its port']);
  });
});
