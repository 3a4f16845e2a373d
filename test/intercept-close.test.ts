// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interceptClose } from '../lib/hook/node';

test('a handle that two servers close is closed once, when it may be', () => {
  const done: unknown[] = [];
  const handle = Object.create({ close: (callback?: () => void) => done.push(callback) });
  let native = () => {};
  interceptClose(handle, (close) => {
    native = close;
    done.push('asked');
  });
  const first = () => {};
  handle.close(first);
  handle.close();
  assert.deepEqual(done, ['asked'], 'its socket is somebody’s still');
  native();
  assert.deepEqual(done, ['asked', first]);
  assert.ok(!Object.hasOwn(handle, 'close'));
});
