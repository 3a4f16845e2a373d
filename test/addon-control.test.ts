// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { testAddon } from './support/addon';
import { until } from './support/app';

const addon = testAddon();
const { EAGAIN } = constants.errno;

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
