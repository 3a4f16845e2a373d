// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { addonPath } from './support/addon';

const skip = availableParallelism() < 2 && 'needs two CPUs';

/** Runs `body` in a process of its own, where `addon`, `masks` and `list` are at hand; resolves to what it prints. */
function inChild(body: string): string {
  const prelude = `
    const addon = require(${JSON.stringify(addonPath())});
    const fs = require('node:fs');
    const list = (path) => /Cpus_allowed_list:\\s*(\\S+)/.exec(fs.readFileSync(path, 'utf8'))[1];
    const threads = () => fs.readdirSync('/proc/self/task').map(Number);
    const masks = () => Object.fromEntries(threads().map((id) => [id, list('/proc/self/task/' + id + '/status')]));
    const original = list('/proc/self/status');
    const cpus = addon.getAffinity(0);
    const assert = require('node:assert');
    (async () => { ${body} })().catch((error) => { console.error(error); process.exit(1); });`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', prelude], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

test('only the calling thread is pinned; the thread pool that exists keeps its mask', { skip }, () => {
  inChild(`
    addon.startThreadPool();
    assert.equal(addon.pinEventLoop(cpus[1]), 0);
    assert.deepEqual(addon.getAffinity(0), [cpus[1]]);
    await require('node:util').promisify(require('node:crypto').pbkdf2)('a', 'b', 1000, 32, 'sha256');
    const all = masks();
    assert.ok(Object.keys(all).length > 4);
    for (const [id, mask] of Object.entries(all)) assert.equal(mask, Number(id) === process.pid ? String(cpus[1]) : original, id);
  `);
});

test('a thread that is made later is found by a sweep, once', { skip }, () => {
  inChild(`
    assert.equal(addon.pinEventLoop(cpus[0]), 0);
    await require('node:util').promisify(fs.stat)('/');
    const pinned = Object.values(masks()).filter((mask) => mask === String(cpus[0])).length;
    assert.ok(pinned > 1, 'the pool was made by the pinned thread');
    assert.equal(addon.sweepThreads(), pinned - 1);
    assert.equal(addon.sweepThreads(), 0);
    assert.deepEqual(addon.getAffinity(0), [cpus[0]]);
  `);
});

test('programs that it starts have the original mask, by every way', { skip }, () => {
  const out = inChild(`
    addon.pinEventLoop(cpus[1]);
    const { spawn, spawnSync, execSync, fork } = require('node:child_process');
    const read = 'grep Cpus_allowed_list /proc/self/status';
    const seen = [String(execSync(read)), String(spawnSync('sh', ['-c', read]).stdout)];
    const child = spawn('sh', ['-c', read]);
    let text = ''; child.stdout.on('data', (data) => { text += data; });
    await new Promise((resolve) => child.on('close', resolve));
    seen.push(text);
    for (const line of seen) assert.equal(line.split(/\\s+/)[1], original);
    console.log(seen.length);
  `);
  assert.equal(out, '3');
});

test('a worker thread asks for the original mask', { skip }, () => {
  inChild(`
    addon.pinEventLoop(cpus[1]);
    const { Worker } = require('node:worker_threads');
    const code = 'const a = require(' + JSON.stringify(${JSON.stringify(addonPath())}) + '); const before = a.getAffinity(0); a.restoreThread(); require("node:worker_threads").parentPort.postMessage([before, a.getAffinity(0)])';
    const [before, after] = await new Promise((resolve, reject) => new Worker(code, { eval: true }).on('message', resolve).on('error', reject));
    assert.deepEqual(before, [cpus[1]]);
    assert.deepEqual(after, cpus);
    assert.deepEqual(addon.getAffinity(0), [cpus[1]]);
  `);
});

test('a CPU that is not there is an error, and nothing has changed', () => {
  inChild(`
    for (const cpu of [-1, 8191, 100000]) assert.ok(addon.pinEventLoop(cpu) < 0, String(cpu));
    assert.deepEqual(addon.getAffinity(0), cpus);
    assert.ok(cpus.includes(addon.currentCpu()));
    assert.ok(addon.getAffinity(2 ** 22 + 1) < 0);
  `);
});

test('a thread that could not be pinned keeps the mask that somebody has given it', { skip }, () => {
  inChild(`
    require('node:child_process').execFileSync('taskset', ['-cp', String(cpus[1]), String(process.pid)]);
    assert.ok(addon.pinEventLoop(8191) < 0);
    assert.deepEqual(addon.getAffinity(0), [cpus[1]]);
  `);
});

test('unpinned: the loop and what has inherited its pin may use these CPUs, everything else is left alone', {
  skip,
}, () => {
  inChild(`
    assert.equal(addon.unpinEventLoop([]), 0);
    assert.equal(list('/proc/self/status'), original, 'it was not pinned');
    assert.equal(addon.unpinEventLoop([cpus[0]]), 0);
    assert.deepEqual(addon.getAffinity(0), [cpus[0]]);
    assert.ok(Object.values(masks()).filter((mask) => mask === original).length > 0, 'it alone');
    assert.equal(addon.unpinEventLoop([]), 0);
    assert.equal(addon.pinEventLoop(cpus[1]), 0);
    await require('node:util').promisify(fs.stat)('/');
    assert.equal(addon.unpinEventLoop([cpus[0]]), 0);
    const all = masks();
    assert.deepEqual(addon.getAffinity(0), [cpus[0]]);
    assert.ok(Object.values(all).filter((mask) => mask === String(cpus[0])).length > 4, 'and the pool');
    assert.ok(!Object.values(all).includes(String(cpus[1])));
    assert.deepEqual(addon.groupCpus(), cpus);
    assert.deepEqual(addon.getAffinity(0), [cpus[0]], 'whoever asks keeps its own');
    assert.equal(addon.pinEventLoop(cpus[1]), 0);
    assert.equal(addon.unpinEventLoop([]), 0);
    assert.equal(list('/proc/self/status'), original);
    // taskset -a has moved all threads to the loop's CPU, and a sweep has taken them for the loop's own
    assert.equal(addon.pinEventLoop(cpus[0]), 0);
    for (const id of threads()) require('node:child_process').execFileSync('taskset', ['-cp', String(cpus[0]), String(id)]);
    assert.ok(addon.sweepThreads() > 4);
    assert.equal(addon.unpinEventLoop([cpus[0]]), 0);
    assert.deepEqual([...new Set(Object.values(masks()))], [String(cpus[0])]);
    assert.throws(() => addon.unpinEventLoop('0'), TypeError);
    assert.equal(addon.unpinEventLoop([-1]), -22);
  `);
});
