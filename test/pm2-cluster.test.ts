// SPDX-License-Identifier: Apache-2.0
// PM2's cluster mode with a daemon that has no hook: its round robin serves, as without the flag.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Customers } from './support/accounts';
import { freePort, until } from './support/app';
import { portFree } from './support/ending';
import { answerers, Pm2 } from './support/pm2';

const HOST = '127.0.0.1';
const pm2 = new Pm2();
after(() => pm2.end());

const cluster = (name: string, port: number) => ({ name, port, exec_mode: 'cluster', instances: 2 });

test('workers are told why they have no sockets of their own', async () => {
  const port = await freePort(HOST);
  await pm2.start(cluster('told', port));
  const why = /the primary has given no socket of its own/;
  await pm2.said(/127\.0\.0\.1.* is left to the primary's round robin: the primary has given no socket/, 2);
  const workers = await answerers(port, 2);
  for (const { active, reason, parent } of workers) {
    assert.equal(active, false);
    assert.match(reason ?? '', why);
    assert.equal(parent, pm2.daemon);
  }
});

describe('reload under load', { concurrency: 1 }, () => {
  for (const hooked of [false, true]) {
    test(`${hooked ? 'with the flag' : 'plain'}: nobody is refused or reset`, async (t) => {
      const name = `reload-${hooked}`;
      const port = await freePort(HOST);
      await pm2.start({ ...cluster(name, port), hook: hooked, env: { LEAVES: 'signal' } });
      const before = (await answerers(port, 2)).map(({ pid }) => pid);
      const customers = new Customers(port, 8);
      await until(() => customers.outcomes.length > 100, 'answers');
      await pm2.run(['reload', name]);
      await answerers(port, 2, ({ pid }) => !before.includes(pid));
      await customers.stop();
      const of = (wanted: string) => customers.outcomes.filter(({ end }) => end === wanted).length;
      // what is on its way to a worker that exits nobody answers, ever (lib/internal/cluster/round_robin_handle.js, handoff)
      t.diagnostic(`${of('answered')} answered, ${of('hung')} never`);
      assert.equal(of('answered') + of('hung'), customers.outcomes.length);
    });
  }
});

test("settings in the app's own environment count", async () => {
  const ports = [await freePort(HOST), await freePort(HOST), await freePort(HOST)] as const;
  const names = ['off', 'one', 'bad'];
  await pm2.start(
    { ...cluster('off', ports[0]), env: { FASTSOCKET: 'off' } },
    { ...cluster('one', ports[1]), env: { FASTSOCKET_WORKERS: '1' } },
    { ...cluster('bad', ports[2]), env: { FASTSOCKET_WORKERS: 'many' } },
  );
  const reasons = [
    /^FASTSOCKET=off$/,
    /^one worker is asked for \(FASTSOCKET_WORKERS=1\)$/,
    /FASTSOCKET_WORKERS='many' is not allowed/,
  ];
  for (const [i, port] of ports.entries())
    for (const { reason } of await answerers(port, 2)) assert.match(reason ?? '', reasons[i] as RegExp);
  await pm2.run(['stop', ...names]);
  for (const port of ports) assert.ok(await portFree(port));
});
