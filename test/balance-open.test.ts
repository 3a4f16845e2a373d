// SPDX-License-Identifier: Apache-2.0
// Open connections as a worker tells them, whoever closes them and however.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { figures, HOST, start } from './support/balance';
import { program } from './support/program';
import { modelParts, seamLogic } from './support/seam-logic';

test('closed in another thread, or behind our back, over a model of the kernel', async (t) => {
  const link = ['clock_gettime', 'mmap', 'munmap'].map((name) => `-Wl,--wrap=${name}`);
  const parts = modelParts(['calls', 'kernel', 'kernel-ring']);
  const binary = await program('open-cases', ['test/native/open-cases.cc', ...parts, ...seamLogic()], link);
  const { status, stderr, stdout } = spawnSync(binary, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  t.diagnostic(stdout.trim());
});

/** What it was told on a connection of its own, which stays as it is where it is to `keep`. */
async function say(t: TestContext, port: number, way: string): Promise<string> {
  const socket = connect(port, HOST, () => socket.write(way));
  socket.on('error', () => {});
  if (way === 'keep') t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  await once(socket, way === 'keep' ? 'data' : 'close');
  return text;
}

/** Last what nobody sees: the numbers are not accepted anew. */
const WAYS = ['end', 'child', 'fs', 'native'];
const EACH = 30;
const KEPT = 7;

for (const ring of ['0', '1'])
  test(`whoever closes them, however, libuv's ring ${ring === '1' ? 'asked for' : 'apart'}`, async (t) => {
    const tree = await start(t, { env: { UV_USE_IO_URING: ring } }, 2, 'closers.js');
    for (let i = 0; i < KEPT; i++) assert.equal(await say(t, tree.port, 'keep'), 'keep');
    for (const way of WAYS) {
      const told = await Promise.all(Array.from({ length: EACH }, () => say(t, tree.port, way)));
      assert.deepEqual([...new Set(told)], [way]);
    }
    const open = async () => (await figures(tree)).seats.reduce((sum, seat) => sum + seat.open, 0);
    t.diagnostic(`${await open()} at first`);
    await until(
      async () => {
        // a loop that sleeps counts nothing
        for (let i = 0; i < 40; i++) await say(t, tree.port, 'end');
        return (await open()) === KEPT;
      },
      () => `${KEPT} open connections`,
    );
  });
