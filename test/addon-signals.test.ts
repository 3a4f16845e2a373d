// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { testAddon } from './support/addon';
import { addonChild } from './support/addon-child';
import { freePort, lives, until } from './support/app';

describe('a worker', () => {
  test('reports a signal and lives on; a child of its own has clean dispositions', async (t) => {
    const { process: worker, output } = await addonChild(
      t,
      `
      const [a, b] = addon.pair();
      addon.reportSignals(a, [15, 2]);
      addon.watch(b, (text) => console.log('got', text));
      console.log(require('node:child_process').execSync('grep SigIgn /proc/self/status; grep SigCgt /proc/self/status').toString());
    `,
    );
    assert.match(output(), /SigIgn:\s+0+\d?\w{0,4}\b/);
    worker.kill('SIGTERM');
    worker.kill('SIGINT');
    await until(() => /got signal 15/.test(output()) && /got signal 2/.test(output()), 'both reports');
    worker.kill('SIGTERM');
    await until(() => output().match(/got signal 15/g)?.length === 2, 'the second report');
    assert.ok(lives(worker.pid as number));
  });

  test('dies by the signal it is told to die of', async (t) => {
    const { end } = await addonChild(
      t,
      'addon.reportSignals(addon.pair()[0], [15]); setTimeout(() => addon.die(15), 10)',
    );
    assert.deepEqual(await end, [null, 'SIGTERM']);
  });
});

describe('an origin that dies by a signal', () => {
  const guarded = (port: number) => `
    const server = require('node:net').createServer().listen(${port}, '127.0.0.1');
    const helper = require('node:child_process').spawn('sleep', ['60']);
    console.log('helper', helper.pid);
    server.on('listening', () => {
      console.log('before', addon.disposition(15), addon.disposition(1));
      addon.guard([15, 1], [server._handle.fd], [helper.pid]);
      console.log('guarded');
    });
  `;

  // Node installs a handler for SIGTERM (src/node.cc, SignalExit) and none for SIGHUP
  for (const [signal, before] of [
    ['SIGTERM', "Node's own handler"],
    ['SIGHUP', 'the default disposition'],
  ] as const) {
    test(`frees the port and ends its workers first, then ${before} acts (${signal})`, async (t) => {
      const port = await freePort('127.0.0.1');
      const { process: origin, output, end } = await addonChild(t, guarded(port));
      await until(() => output().includes('guarded'), 'the guard');
      assert.match(output(), /before 2 0/);
      const helper = Number(/helper (\d+)/.exec(output())?.[1]);
      origin.kill(signal);
      assert.deepEqual(await end, [null, signal]);
      const next = createServer().listen({ port, host: '127.0.0.1', exclusive: true });
      await once(next, 'listening');
      next.close();
      await until(() => !lives(helper), 'the end of the helper', 1000);
    });
  }

  test('a handler of the app that comes later is left alone when the guard is lifted', async (t) => {
    const { process: origin, output } = await addonChild(
      t,
      `
      addon.guard([15, 12], [], []);
      process.on('SIGTERM', () => console.log('mine'));
      addon.guard([12], [], []);
    `,
    );
    origin.kill('SIGTERM');
    await until(() => output().includes('mine'), "the app's handler");
    assert.ok(lives(origin.pid as number));
  });

  test('a guard that is lifted leaves what was there before', async (t) => {
    const { output } = await addonChild(
      t,
      `
      const was = addon.disposition(12);
      addon.guard([12], [], []);
      const now = addon.disposition(12);
      addon.guard([], [], []);
      console.log('dispositions', was, now, addon.disposition(12));
    `,
    );
    assert.match(output(), /dispositions 0 2 0/);
  });
});

describe('waiting for processes', () => {
  const addon = testAddon();

  test('until all have ended, or the time is over', async () => {
    const quick = spawn('sleep', ['0.05']);
    const slow = spawn('sleep', ['60']);
    const pids = [quick.pid, slow.pid] as number[];
    const start = performance.now();
    assert.equal(addon.waitGone(150, pids), 1);
    assert.ok(performance.now() - start >= 149);
    slow.kill('SIGKILL');
    assert.equal(addon.waitGone(5000, pids), 0);
    await Promise.all([once(quick, 'close'), once(slow, 'close')]);
    assert.equal(addon.waitGone(0, pids), 0);
    assert.equal(addon.waitGone(0, []), 0);
    assert.equal(addon.waitGone(0, [process.pid]), 1);
  });
});
