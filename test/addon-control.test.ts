// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { addonPath, testAddon } from './support/addon';
import { addonChild } from './support/addon-child';
import { until } from './support/app';

const addon = testAddon();
const { EAGAIN, EEXIST, EINVAL, EMSGSIZE } = constants.errno;

function pair(t: TestContext): [number, number] {
  const ends = addon.pair();
  assert.ok(Array.isArray(ends));
  const [a, b] = ends as [number, number];
  t.after(() => {
    addon.close(a);
    addon.close(b);
  });
  return [a, b];
}

describe('control socket', () => {
  test('messages keep their borders, descriptors arrive close-on-exec', (t) => {
    const [a, b] = pair(t);
    assert.equal(addon.isCloseOnExec(a), 1);
    const file = openSync('/dev/null', 'r');
    t.after(() => closeSync(file));
    assert.ok(addon.send(a, 'one', []) > 0);
    assert.ok(addon.send(a, 'two', [file, file]) > 0);
    assert.deepEqual(addon.receive(b, 0), { text: 'one', fds: [] });
    const second = addon.receive(b, 0);
    assert.ok(typeof second === 'object');
    assert.equal(second.text, 'two');
    assert.equal(second.fds.length, 2);
    for (const fd of second.fds) {
      assert.equal(addon.isCloseOnExec(fd), 1);
      assert.equal(readlinkSync(`/proc/self/fd/${fd}`), '/dev/null');
      addon.close(fd);
    }
    assert.equal(addon.receive(b, 0), -EAGAIN);
  });

  test('the same of a stream, one message at a time; libuv knows what it is', (t) => {
    const ends = addon.streamPair();
    assert.ok(Array.isArray(ends));
    const [a, b] = ends as [number, number];
    t.after(() => {
      addon.close(a);
      addon.close(b);
    });
    assert.deepEqual([addon.isCloseOnExec(a), addon.isCloseOnExec(b)], [1, 1]);
    assert.equal(addon.peerPid(b), process.pid);
    assert.ok(addon.send(a, 'one', [a]) > 0);
    const message = addon.receive(b, 0);
    assert.ok(typeof message === 'object');
    assert.equal(message.text, 'one');
    assert.equal(message.fds.length, 1);
    for (const fd of message.fds) addon.close(fd);
    // what it does not know it does not pass on (src/unix/core.c, uv__guess_handle)
    new Socket({ fd: addon.dup(b) }).destroy();
    const [packets] = pair(t);
    assert.throws(() => new Socket({ fd: packets }), { code: 'ERR_INVALID_FD_TYPE' });
  });

  test('two hundred descriptors in one message, text in any script', (t) => {
    const [a, b] = pair(t);
    const file = openSync('/dev/null', 'r');
    t.after(() => closeSync(file));
    const text = 'ünïcödé '.repeat(1000);
    assert.ok(addon.send(a, text, Array(200).fill(file)) > 0);
    const message = addon.receive(b, 0);
    assert.ok(typeof message === 'object');
    assert.equal(message.text, text);
    assert.equal(message.fds.length, 200);
    for (const fd of message.fds) addon.close(fd);
  });

  test('what does not fit is refused, and nothing leaks', (t) => {
    const [a, b] = pair(t);
    const before = (addon.openFds() as number[]).length;
    assert.ok(addon.send(a, 'x'.repeat(70_000), []) < 0);
    assert.ok(addon.send(a, 'x', Array(300).fill(0)) < 0);
    assert.ok(addon.send(a, 'x', [1_000_000]) < 0);
    assert.equal(addon.receive(b, 0), -EAGAIN);
    assert.equal((addon.openFds() as number[]).length, before);
  });

  test('waiting ends by time, by a message, and when the peer goes', (t) => {
    const [a, b] = pair(t);
    const start = performance.now();
    assert.equal(addon.receive(b, 30), -EAGAIN);
    assert.ok(performance.now() - start >= 29);
    addon.send(a, 'last', []);
    addon.close(a);
    assert.deepEqual(addon.receive(b, 1000), { text: 'last', fds: [] });
    assert.equal(addon.receive(b, 1000), 0);
  });

  test('what the peer sent before it closed on unread messages is still to be read', (t) => {
    const [a, b] = pair(t);
    addon.send(b, 'never read', []);
    addon.send(a, 'one', []);
    addon.send(a, 'two', []);
    addon.close(a);
    assert.deepEqual(addon.receive(b, 0), { text: 'one', fds: [] });
    assert.deepEqual(addon.receive(b, 0), { text: 'two', fds: [] });
    assert.equal(addon.receive(b, 0), 0);
  });

  test('an empty message is refused: it would look like the end', (t) => {
    const [a, b] = pair(t);
    assert.equal(addon.send(a, '', []), -EINVAL);
    assert.equal(addon.receive(b, 0), -EAGAIN);
  });

  test('a full channel is an error at once, not a wait', (t) => {
    const [a] = pair(t);
    let sent = 0;
    while (sent < 10_000 && addon.send(a, 'x'.repeat(1000), []) > 0) sent++;
    assert.equal(addon.send(a, 'x'.repeat(1000), []), -EAGAIN, `after ${sent}`);
  });

  test('more descriptors than the limit allows: an error, and none of them stays', async (t) => {
    const { output } = await addonChild(
      t,
      `
      const [a, b] = addon.pair();
      console.log('libuv keeps a descriptor from its first stream on');
      const before = addon.openFds().length;
      addon.send(a, 'many', Array(200).fill(0));
      addon.send(a, 'watched', Array(200).fill(0));
      console.log('result', addon.receive(b, 0), addon.openFds().length - before);
      addon.watch(b, (text, fds) => console.log('text', text, fds.length, addon.openFds().length - before));
    `,
      ['sh', '-c', 'ulimit -n 100 && exec "$@"', 'sh'],
    );
    await until(() => output().includes('text'), 'the watched message');
    assert.match(output(), new RegExp(`result -${EMSGSIZE} 0\\n`));
    assert.match(output(), /text watched 0 0\n/);
  });

  test('the peer of the pair is this process', (t) => {
    const [a] = pair(t);
    assert.equal(addon.peerPid(a), process.pid);
    const file = openSync('/dev/null', 'r');
    t.after(() => closeSync(file));
    assert.ok(addon.peerPid(file) < 0);
  });
});

describe('watching', () => {
  test('every message is delivered, then the end, and unwatch stops it', async (t) => {
    const [a, b] = pair(t);
    const [c, d] = pair(t);
    const seen: (string | null)[] = [];
    const other: (string | null)[] = [];
    const first = addon.watch(b, (text) => seen.push(text));
    const second = addon.watch(d, (text) => other.push(text));
    assert.ok(first >= 0 && second >= 0 && first !== second);
    for (let i = 0; i < 100; i++) addon.send(a, `m${i}`, []);
    addon.send(c, 'hello', []);
    // a watch keeps nothing alive: hold the loop by hand
    await until(() => seen.length === 100 && other.length === 1, 'all messages');
    assert.equal(seen[99], 'm99');
    assert.equal(addon.unwatch(second), 0);
    assert.ok(addon.unwatch(second) < 0);
    addon.send(c, 'unheard', []);
    addon.close(a);
    await until(() => seen.length === 101, 'the end');
    assert.equal(seen[100], null);
    assert.deepEqual(other, ['hello']);
  });

  test('the end comes after the last message, also when the peer closed on unread ones', async (t) => {
    const [a, b] = pair(t);
    const seen: (string | null)[] = [];
    addon.watch(b, (text) => seen.push(text));
    addon.send(b, 'never read', []);
    for (let i = 0; i < 100; i++) addon.send(a, String(i), []);
    addon.close(a);
    await until(() => seen.includes(null), 'the end');
    assert.deepEqual(seen, [...Array.from({ length: 100 }, (_, i) => String(i)), null]);
  });

  test('a descriptor arrives close-on-exec, and it is the callback that owns it', async (t) => {
    const [a, b] = pair(t);
    const file = openSync('/dev/null', 'r');
    t.after(() => closeSync(file));
    const received: number[] = [];
    const id = addon.watch(b, (_text, fds) => received.push(...fds));
    addon.send(a, 'fds', [file, file]);
    await until(() => received.length === 2, 'the descriptors');
    addon.unwatch(id);
    for (const fd of received) {
      assert.equal(addon.isCloseOnExec(fd), 1);
      assert.equal(addon.close(fd), 0);
    }
  });

  test('a callback that throws is an uncaught exception, and the next message comes', async (t) => {
    const { output } = await addonChild(
      t,
      `
      const [a, b] = addon.pair();
      process.on('uncaughtException', (error) => console.log('uncaught', error));
      addon.watch(b, (text) => { console.log('heard', text); throw text === 'two' ? undefined : 'thrown by ' + text; });
      addon.send(a, 'one', []);
      addon.send(a, 'two', []);
      addon.send(a, 'three', []);
    `,
    );
    await until(() => output().includes('thrown by three'), 'the third');
    for (const text of [
      'heard one',
      'uncaught thrown by one',
      'heard two',
      'uncaught undefined',
      'heard three',
    ]) {
      assert.ok(output().includes(text), `${text}: ${output()}`);
    }
  });

  test('a watch keeps no program alive, and one descriptor has one watch', async (t) => {
    const [, b] = pair(t);
    const id = addon.watch(b, () => {});
    assert.equal(
      addon.watch(b, () => {}),
      -EEXIST,
    );
    assert.equal(addon.unwatch(id), 0);
    assert.ok(addon.watch(1_000_000, () => {}) < 0);
    const code = `const addon = require(${JSON.stringify(addonPath())}); addon.watch(addon.pair()[0], () => {});`;
    const { status, signal } = spawnSync(process.execPath, ['-e', code], { timeout: 20_000 });
    assert.deepEqual({ status, signal }, { status: 0, signal: null });
  });

  test('a watch can be ended from its own callback', async (t) => {
    const [a, b] = pair(t);
    let calls = 0;
    const id = addon.watch(b, () => {
      calls++;
      addon.unwatch(id);
    });
    addon.send(a, 'one', []);
    addon.send(a, 'two', []);
    await until(() => calls > 0, 'the first message');
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(calls, 1);
  });
});
