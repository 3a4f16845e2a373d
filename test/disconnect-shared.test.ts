// SPDX-License-Identifier: Apache-2.0
// cluster.worker.disconnect() closes UDP sockets and servers on paths, and the worker ends: as in a plain cluster.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { answering, fixture, freePort, multiplied, startApp, until } from './support/app';
import { ask } from './support/ask';
import { Ledger } from './support/ledger';
import { freeUdpPort } from './support/shared-app';

const HOST = '127.0.0.1';
const OPEN = ['any open', 'fixed open', 'path open', 'reused open'];
const CLOSED = ['any closed', 'fixed closed', 'reused closed'];

/** What a worker notes from the moment when it disconnects. */
async function disconnected(t: TestContext, hook: boolean): Promise<string[]> {
  const ledger = new Ledger(t);
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-disconnect-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const app = startApp(fixture('disconnecting.js'), {
    port: await freePort(HOST),
    hook,
    env: {
      UDP: String(await freeUdpPort()),
      REUSED: String(await freeUdpPort()),
      PATH_NAME: join(folder, 'socket'),
      LEDGER: ledger.path,
      ...(hook ? {} : { CLUSTER: '1' }),
    },
  });
  t.after(() => app.stop());
  if (hook) await multiplied(app, 2, HOST);
  else await answering(app.port, HOST);
  const all = () => app.workers().every((pid) => OPEN.every((event) => ledger.count(event, pid) === 1));
  await until(
    () => app.workers().length === 2 && all(),
    () => `all is open: ${JSON.stringify(ledger.entries)}\n${app.stderr}`,
  );
  const { pid } = await ask<{ pid: number }>(app.port, '/disconnect');
  assert.notEqual(pid, app.pid);
  await until(
    () => ledger.count('exit 0', pid) === 1,
    () => `the worker's end: ${JSON.stringify(ledger.of(pid))}\n${app.stderr}`,
  );
  return ledger.of(pid).filter((event) => !OPEN.includes(event));
}

for (const hook of [false, true])
  test(hook ? 'with the hook' : 'in a plain cluster', async (t) => {
    assert.deepEqual((await disconnected(t, hook)).sort(), [...CLOSED, 'exit 0'].sort());
  });
