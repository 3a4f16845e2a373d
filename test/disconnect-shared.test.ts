// SPDX-License-Identifier: Apache-2.0
// cluster.worker.disconnect() closes UDP sockets and servers on paths, and the worker ends: as in a plain cluster.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { answering, fixture, freePort, multiplied, startApp, until } from './support/app';
import { ask } from './support/ask';
import { Ledger } from './support/ledger';
import { freeUdpPort } from './support/shared-app';
import { temporaryFolder } from './support/temporary';
import { PackageWithoutAddon } from './support/without-addon';

const bare = new PackageWithoutAddon();
after(() => bare.remove());

const HOST = '127.0.0.1';
/** What each process may have for itself, and what it has with the others. */
const OWN = ['any', 'reused'];
const SHARED = ['fixed', 'path'];

/** What a worker notes from the moment when it disconnects. */
async function disconnected(t: TestContext, hook: boolean | string[], names: string[]): Promise<string[]> {
  const ledger = new Ledger();
  const folder = temporaryFolder('disconnect');
  const shared = { UDP: String(await freeUdpPort()), PATH_NAME: join(folder, 'socket') };
  const app = startApp(fixture('disconnecting.js'), {
    port: await freePort(HOST),
    hook,
    env: {
      ...(names.includes('fixed') ? shared : {}),
      REUSED: String(await freeUdpPort()),
      LEDGER: ledger.path,
      ...(hook ? {} : { CLUSTER: '1' }),
    },
  });
  t.after(() => app.stop());
  if (hook) await multiplied(app, 2, HOST);
  else await answering(app.port, HOST);
  const opened = names.map((name) => `${name} open`);
  const all = () => app.workers().every((pid) => opened.every((event) => ledger.count(event, pid) === 1));
  await until(
    () => app.workers().length === 2 && all(),
    () => `all is open: ${JSON.stringify(ledger.entries)}\n${app.stderr}`,
  );
  // without the addon the origin serves, too, and has nothing to disconnect from
  const pid = await until(async () => {
    const { pid } = await ask<{ pid: number }>(app.port, '/disconnect');
    return pid !== app.pid && pid;
  }, 'a worker that disconnects');
  await until(
    () => ledger.count('exit 0', pid) === 1,
    () => `the worker's end: ${JSON.stringify(ledger.of(pid))}\n${app.stderr}`,
  );
  return ledger.of(pid).filter((event) => !opened.includes(event));
}

const closed = (names: readonly string[]): string[] => names.map((name) => `${name} closed`);

for (const hook of [false, true])
  test(hook ? 'with the hook' : 'in a plain cluster', async (t) => {
    const events = await disconnected(t, hook, [...OWN, ...SHARED]);
    assert.deepEqual(events.sort(), [...closed([...OWN, 'fixed']), 'exit 0'].sort());
  });

describe('without the addon', () => {
  for (const [means, hook] of Object.entries(bare.means))
    test(means, async (t) => {
      const events = await disconnected(t, hook, OWN);
      assert.deepEqual(events.sort(), [...closed(OWN), 'exit 0'].sort());
    });
});
