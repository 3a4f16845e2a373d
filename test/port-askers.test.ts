// SPDX-License-Identifier: Apache-2.0
// Programs that ask whether their port is taken before they listen: in a copy the origin would answer.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import { multiplied, until } from './support/app';
import { answeredAsPlain, startAsker, type Way } from './support/port-askers';

const own = Object.values(networkInterfaces())
  .flat()
  .find((one) => one && !one.internal && one.family === 'IPv4')?.address;

const WAYS: (Way & { name: string; skip?: string | false })[] = [
  { name: 'by a connection', way: 'connect' },
  { name: 'by its name', way: 'connect', to: 'localhost', host: '::' },
  { name: 'by a request', way: 'request' },
  { name: 'twice', way: 'connect twice' },
  { name: 'before and after it has listened there', way: 'connect, listen, connect' },
  { name: 'when its copies are there already', way: 'late' },
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
    test(name, { skip }, (t) => answeredAsPlain(t, way, true));
  }
});

describe('an app that speaks to itself', { concurrency: 2 }, () => {
  test('gets through as soon as it listens', async (t) => {
    const { app, ledger } = await startAsker(t, { way: 'poll' }, true);
    const workers = await multiplied(app);
    for (const pid of [app.pid, ...workers]) {
      await until(() => ledger.of(pid).some((event) => event.startsWith('connected')), 'an answer');
      assert.equal(ledger.of(pid).filter((event) => /REFUSED.*while it listens/.test(event)).length, 0);
    }
  });

  test('gets through before it listens, where the origin has not asked', async (t) => {
    const { app, ledger } = await startAsker(t, { way: 'client' }, true);
    for (const pid of await multiplied(app))
      assert.deepEqual(ledger.of(pid), ['answered by another', 'listens on its port']);
  });
});
