// SPDX-License-Identifier: Apache-2.0
// When it is said that a worker cannot be started any more, and how often it is tried.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChangedUser } from '../lib/origin/changed-user';
import { BARRED_MS, Barred, TRIES } from '../lib/workers/barred';

function scene(user: string | undefined) {
  const said: string[] = [];
  const state = { user };
  return {
    said,
    state,
    barred: new Barred(
      () => state.user,
      (line) => said.push(line),
    ),
  };
}

test('while the app is who has started it nothing is said, and attempts come as ever', () => {
  const { barred, said } = scene(undefined);
  for (let i = 0; i < 10; i++) assert.equal(barred.failed(1, 'exited with code 1'), 0);
  assert.deepEqual(said, []);
});

test('once it has become somebody else: after some attempts one line for all workers, and they become rare', () => {
  const { barred, said } = scene('user 1');
  for (let i = 1; i < TRIES; i++)
    for (const index of [1, 2]) assert.equal(barred.failed(index, 'exited with code 1'), 0);
  assert.deepEqual(said, []);
  for (const index of [2, 1, 2]) assert.equal(barred.failed(index, 'exited with code 1'), BARRED_MS);
  assert.equal(said.length, 1);
  assert.match(
    String(said[0]),
    /^worker 2 cannot be started again as user 1, .*: it exited with code 1; its share/,
  );
});

test('who serves is forgiven, and when that is said again depends on nobody else', () => {
  const { barred, said } = scene('user 1');
  for (let i = 0; i < TRIES; i++) barred.failed(1, 'exited with code 1');
  barred.served(1);
  assert.equal(barred.failed(1, 'exited with code 1'), 0);
  for (let i = 1; i < TRIES; i++) barred.failed(1, 'exited with code 1');
  assert.equal(said.length, 2);
});

test('calls that change nothing make nobody else of the app', () => {
  const user = new ChangedUser();
  user.changed(JSON.stringify(['setuid', process.getuid?.()]));
  assert.equal(user.now, undefined);
  assert.equal(user.explain('why'), 'why');
});
