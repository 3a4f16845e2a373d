// SPDX-License-Identifier: Apache-2.0
// Somebody else has taken the path of the tree's server: a copy fares there as a second process of plain Node does.
import assert from 'node:assert/strict';
import { statSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type TestContext, test } from 'node:test';
import { until } from './support/app';
import { askPath, type SharedApp, startShared } from './support/shared-app';

/** A server of ours in the place of the app's. */
async function take(t: TestContext, path: string): Promise<Server> {
  unlinkSync(path);
  const server = createServer((_request, response) => {
    response.setHeader('Connection', 'close');
    response.setHeader('X-Pid', process.pid);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  return server;
}

/** What a copy that is started now notes of its path. */
async function successor({ app, ledger, workers }: SharedApp): Promise<{ pid: number; noted: string }> {
  const [killed] = workers as [number];
  process.kill(killed, 'SIGKILL');
  const found = await until(
    () =>
      ledger.entries.find(
        ({ pid, event }) => pid !== app.pid && !workers.includes(pid) && /^path/.test(event),
      ),
    () => `a successor:\n${app.stderr}`,
  );
  return { pid: found.pid, noted: found.event };
}

test('it is in use', async (t) => {
  const shared = await startShared(t, { path: 'file' });
  await take(t, shared.path);
  assert.equal((await successor(shared)).noted, 'path error listen EADDRINUSE');
  assert.equal(await askPath(shared.path), process.pid);
});

test('one that removes it first has it, for all users as it has asked', async (t) => {
  const shared = await startShared(t, { path: 'file', env: { UNLINK: '1', FOR_ALL: '1' } });
  assert.equal(statSync(shared.path).mode & 0o666, 0o666);
  await take(t, shared.path);
  const { pid, noted } = await successor(shared);
  assert.match(noted, /^path "/);
  assert.equal(await askPath(shared.path), pid);
  assert.equal(statSync(shared.path).mode & 0o666, 0o666);
});
