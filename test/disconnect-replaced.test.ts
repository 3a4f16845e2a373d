// SPDX-License-Identifier: Apache-2.0
// Copies whose app disconnects each of them soon after it has come to listen are replaced, again and again: that is what the
// app wants, and says nothing against copies.
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { SOON_ENDED, SOON_MS } from '../lib/workers/lifecycle';
import { fixture, freePort, hook, startApp, until } from './support/app';
import { Ledger } from './support/ledger';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
/** More than those that end by themselves may be, those of one crew counted once. */
const ENOUGH = 2 * (SOON_ENDED + 1);

const bare = new PackageWithoutAddon();
after(() => bare.remove());

async function replaced(t: TestContext, flags: string[]): Promise<void> {
  const ledger = new Ledger();
  const app = startApp(fixture('parting.js'), {
    port: await freePort(HOST),
    hook: flags,
    env: { ALONE: '1', LEDGER: ledger.path, PARTS_MS: String(SOON_MS / 2) },
  });
  t.after(() => app.stop());
  const ended = () => ledger.entries.filter(({ pid, event }) => event === 'exit 0' && pid !== app.pid).length;
  await until(
    () => ended() >= ENOUGH,
    () => `${ENOUGH} copies that have ended:\n${app.stderr}`,
    60_000,
  );
  assert.doesNotMatch(app.stderr, /the app runs as plain Node/);
}

test('with the addon', (t) => replaced(t, ['-r', hook]));

for (const [means, flags] of Object.entries(bare.means))
  test(`without the addon, ${means}`, (t) => replaced(t, flags));
