// SPDX-License-Identifier: Apache-2.0
// A client with an address of its own is no server, also where a server of the app has that address.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, freePort, startApp } from './support/app';

test('a client that wants the address of a listener group fares as with plain Node', async (t) => {
  const ends: string[] = [];
  for (const hook of [false, true]) {
    const app = startApp(fixture('client-bind.js'), { port: await freePort('127.0.0.1'), hook });
    t.after(() => app.stop());
    ends.push((await app.said(/^origin: (.*)$/m))[1] as string);
    if (hook) ends.push((await app.said(/^worker: (.*)$/m))[1] as string);
    await app.stop();
  }
  assert.deepEqual(ends, Array(3).fill('bind EADDRINUSE'));
});
