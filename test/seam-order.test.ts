// SPDX-License-Identifier: Apache-2.0
// In which order the seam passes on what has become ready meanwhile: while a handler takes its time, a connection that is
// queued can be another worker's, one that is accepted can not.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { type App, until } from './support/app';
import { startOneProcess } from './support/one-process';

const start = (t: TestContext, hook: boolean, env: Record<string, string> = {}) =>
  startOneProcess(t, 'seam-order.js', { mode: 'order', hook, env });

async function connected(t: TestContext, { port }: App): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.setNoDelay(true);
  await once(socket, 'connect');
  return socket;
}

/** Over loopback it is in the other end's queue when the call returns. */
const send = (socket: Socket, text: string) =>
  new Promise<void>((resolve) => socket.write(text, () => resolve()));

const said = (app: App, line: string) => until(() => app.stdout.includes(`${line}\n`), line);

const stopped = ({ pid }: App) =>
  until(() => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')), 'it has stopped itself');

/** What it says after it is continued. */
async function continued(app: App, lines: number): Promise<string[]> {
  const before = app.stdout.length;
  process.kill(app.pid, 'SIGCONT');
  const since = () => app.stdout.slice(before).split('\n').slice(0, -1);
  await until(() => since().length >= lines, `${lines} lines`);
  return since();
}

describe('what has become ready in one turn of the loop', () => {
  for (const hook of [false, true])
    test(`who was accepted first is read first, ${hook ? 'with the hook' : 'plain Node'}`, async (t) => {
      const app = await start(t, hook, { STOP_AT: '2' });
      const first = await connected(t, app);
      // it is registered with epoll from then on
      await send(first, 'hello');
      await said(app, 'data hello');
      const second = await connected(t, app);
      await stopped(app);
      await send(first, 'first');
      await send(second, 'second');
      assert.deepEqual(await continued(app, 2), ['data first', 'data second']);
    });

  test('who was accepted is read before others are accepted', async (t) => {
    const app = await start(t, true);
    const first = await connected(t, app);
    await send(first, 'hello');
    await said(app, 'data hello');
    const other = await connected(t, app);
    await send(other, 'stop');
    await stopped(app);
    await connected(t, app);
    await send(first, 'first');
    assert.deepEqual(await continued(app, 2), ['data first', 'connection 3']);
  });
});
