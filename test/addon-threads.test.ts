// SPDX-License-Identifier: Apache-2.0
// The addon in worker threads: what belongs to a thread ends with it, what belongs to the process stays.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { addonPath, testAddon } from './support/addon';
import { addonChild } from './support/addon-child';
import { until } from './support/app';

const addon = testAddon();
const load = `const addon = require(${JSON.stringify(addonPath())}); const { parentPort } = require('node:worker_threads');`;

/** Resolves with the first message of a thread that has run `body`. */
function thread(body: string): { worker: Worker; said: Promise<unknown>; ended: Promise<number> } {
  const worker = new Worker(load + body, { eval: true });
  const said = new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const ended = new Promise<number>((resolve) => {
    worker.once('exit', resolve);
  });
  return { worker, said, ended };
}

describe('a thread that watches', () => {
  test('ends by itself, and its watches with it', async () => {
    const { said, ended } = thread(`
      const [a, b] = addon.pair();
      addon.watch(b, () => {});
      addon.watch(addon.pair()[0], () => {});
      parentPort.postMessage('watching');
    `);
    assert.equal(await said, 'watching');
    assert.equal(await ended, 0);
  });

  test('can be terminated in the midst of messages', async () => {
    for (let round = 0; round < 5; round++) {
      const { worker, said } = thread(`
        const [a, b] = addon.pair();
        const file = require('node:fs').openSync('/dev/null');
        addon.watch(b, (text, fds) => { for (const fd of fds) addon.close(fd); addon.send(a, 'again', [file]); parentPort.postMessage(text); });
        addon.send(a, 'first', [file]);
        setInterval(() => {}, 1000);
      `);
      assert.equal(await said, 'first');
      assert.equal(await worker.terminate(), 1);
    }
  });

  test('hears its own messages only', async () => {
    const [a, b] = addon.pair() as [number, number];
    const heard: (string | null)[] = [];
    const id = addon.watch(b, (text) => heard.push(text));
    const { said, ended } = thread(`
      const [c, d] = addon.pair();
      addon.watch(d, (text) => { parentPort.postMessage(text); addon.close(c); addon.close(d); });
      addon.send(${a}, 'to the main thread', []);
      addon.send(c, 'to the thread', []);
      setTimeout(() => {}, 50);
    `);
    assert.equal(await said, 'to the thread');
    await until(() => heard.length > 0, 'the message');
    assert.deepEqual(heard, ['to the main thread']);
    await ended;
    addon.unwatch(id);
    addon.close(a);
    addon.close(b);
  });
});

describe('what belongs to the process', () => {
  test('outlives the thread that set it up, whose end would unload the code', async (t) => {
    const { process: child, output } = await addonChild(
      t,
      `
      const [a, b] = addon.pair();
      const file = Object.keys(require.cache).find((name) => name.endsWith('.node'));
      const { Worker } = require('node:worker_threads');
      const code = 'const addon = require(' + JSON.stringify(file) + '); addon.reportSignals(' + a + ', [15]);';
      new Worker(code, { eval: true }).on('exit', () => {
        addon.watch(b, (text) => console.log('got', text));
        console.log('thread gone');
      });
    `,
    );
    await until(() => output().includes('thread gone'), 'the end of the thread');
    child.kill('SIGTERM');
    await until(() => output().includes('got signal 15'), 'the report');
  });

  test('is still there when the only thread that had loaded it has ended', () => {
    const inThread = `const addon = require(${JSON.stringify(addonPath())});
      addon.guard([12], [], []);
      addon.pinEventLoop(addon.getAffinity(0)[0]);`;
    // a program that is started runs the fork handler, the signal runs the guard
    const code = `new (require('node:worker_threads').Worker)(${JSON.stringify(inThread)}, { eval: true }).on('exit', () => {
      console.log(require('node:child_process').spawnSync('true').status);
      process.kill(process.pid, 'SIGUSR2');
      setInterval(() => {}, 1000);
    });`;
    const { stdout, signal } = spawnSync(process.execPath, ['-e', code], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.deepEqual({ stdout, signal }, { stdout: '0\n', signal: 'SIGUSR2' });
  });
});

describe('affinity of threads', { skip: availableParallelism() < 2 && 'needs two CPUs' }, () => {
  test('one thread is the event loop: another one cannot take its place', async (t) => {
    const { output } = await addonChild(
      t,
      `
      const cpus = addon.getAffinity(0);
      addon.pinEventLoop(cpus[0]);
      console.log('again', addon.pinEventLoop(cpus[1]), addon.getAffinity(0)[0] === cpus[1]);
      const { Worker } = require('node:worker_threads');
      const file = Object.keys(require.cache).find((name) => name.endsWith('.node'));
      const code = 'const addon = require(' + JSON.stringify(file) + '); console.log("other", addon.pinEventLoop(0)); addon.restoreThread(); console.log("mask", addon.getAffinity(0).length)';
      new Worker(code, { eval: true });
    `,
    );
    await until(() => /mask \d/.test(output()), 'the thread');
    assert.match(output(), /again 0 true/);
    assert.match(output(), /other -16/);
    assert.match(output(), new RegExp(`mask ${(addon.getAffinity(0) as number[]).length}\\b`));
  });

  test('a sweep leaves alone what somebody else has placed', async (t) => {
    const { process: child, output } = await addonChild(
      t,
      `
      const cpus = addon.getAffinity(0);
      addon.startThreadPool();
      const pool = require('node:fs').readdirSync('/proc/self/task').map(Number).find((id) => id !== process.pid);
      require('node:child_process').execFileSync('taskset', ['-pc', String(cpus[0]), String(pool)]);
      addon.pinEventLoop(cpus[1]);
      console.log('swept', addon.sweepThreads(), 'placed', pool);
    `,
    );
    const [, swept, placed] = /swept (\d+) placed (\d+)/.exec(output()) ?? [];
    assert.equal(swept, '0');
    const status = readFileSync(`/proc/${child.pid}/task/${placed}/status`, 'utf8');
    assert.match(status, new RegExp(`Cpus_allowed_list:\\s+${(addon.getAffinity(0) as number[])[0]}\\n`));
  });
});
