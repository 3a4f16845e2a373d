// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testAddon } from './support/addon';
import { addonChild } from './support/addon-child';
import { lives, until } from './support/app';

test('children that must not outlive their parent end with it, whatever they run; others do not', async (t) => {
  const { process: parent, output } = await addonChild(
    t,
    `
    const { spawn } = require('node:child_process');
    const set = addon.setChildDeathSignal(9);
    const bound = spawn('sleep', ['60'], { stdio: 'ignore' });
    const unset = addon.setChildDeathSignal(0);
    const free = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    console.log('results', set, unset, 'pids', bound.pid, free.pid);
  `,
  );
  const [, bound, free] = (await until(() => /results 0 0 pids (\d+) (\d+)/.exec(output()), output())).map(
    Number,
  );
  t.after(() => process.kill(free as number, 'SIGKILL'));
  parent.kill('SIGKILL');
  await until(() => !lives(bound as number), 'the end of the first', 2_000);
  assert.ok(lives(free as number));
});

test('another thread that forks in between is none of it', async (t) => {
  const { process: parent, output } = await addonChild(
    t,
    `
    const { Worker } = require('node:worker_threads');
    addon.setChildDeathSignal(9);
    const code = 'const child = require("node:child_process").spawn("sleep", ["60"], { stdio: "ignore" });' +
      'require("node:fs").writeSync(1, "pid " + child.pid + ".");';
    new Worker(code, { eval: true }).on('error', (error) => console.log(error));
  `,
  );
  const pid = Number((await until(() => /pid (\d+)\./.exec(output()), 'the thread')).at(1));
  t.after(() => process.kill(pid, 'SIGKILL'));
  parent.kill('SIGKILL');
  await until(() => !lives(parent.pid as number), 'the end of the parent');
  assert.ok(lives(pid));
});

test('refuses what is no signal', () => {
  const addon = testAddon();
  for (const signal of [-1, 65]) assert.equal(addon.setChildDeathSignal(signal), -22);
  assert.equal(addon.setChildDeathSignal(0), 0);
});
