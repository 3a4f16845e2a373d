// SPDX-License-Identifier: Apache-2.0
// How the workers of an app that forks them itself leave: as Node documents it, and without losing a connection.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Customers, type Kill, nothing, settle } from './support/accounts';
import { addonPath } from './support/addon';
import { fixture, freePort, lives, startApp, until } from './support/app';
import { untilPortFree } from './support/ending';
import { Ledger } from './support/ledger';
import { type ClusterEvent, numbers, ownCluster } from './support/own-cluster';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';

const withoutIds = (events: ClusterEvent[]) => events.map(({ id, ...rest }) => rest);
const orderly = { event: 'exit', code: 0, signal: null, exitedAfterDisconnect: true };

describe("the app's own workers leave", { concurrency: 2 }, () => {
  test('by worker.disconnect(): the others have what comes', async (t) => {
    const cluster = await ownCluster(t);
    cluster.command('disconnect 1');
    assert.deepEqual(await cluster.seen('exit'), [{ ...orderly, id: 1 }]);
    assert.deepEqual(await cluster.seen('disconnect'), [{ event: 'disconnect', id: 1 }]);
    assert.deepEqual(numbers(await cluster.answers(32)), [2]);
  });

  test('by cluster.disconnect(): it calls back, and the port is free', async (t) => {
    const cluster = await ownCluster(t);
    cluster.command('disconnect');
    await cluster.seen('all disconnected');
    assert.deepEqual(withoutIds(await cluster.seen('exit', 2)), [orderly, orderly]);
    await untilPortFree(cluster.port);
  });

  test('and the port is taken again at once', async (t) => {
    const cluster = await ownCluster(t, { workers: 1 });
    cluster.command('disconnect 1');
    cluster.command('fork 1');
    await cluster.served(2);
    assert.deepEqual(numbers(await cluster.answers(16)), [2]);
  });

  test('and the port is taken again while the one that is told to leave is blocked', async (t) => {
    const folder = temporaryFolder('block');
    const file = join(folder, 'go-on');
    const cluster = await ownCluster(t, { workers: 1, env: { GO_ON: file } });
    await cluster.ask('/block');
    cluster.command('disconnect 1');
    cluster.command('fork 1');
    await cluster.served(2);
    assert.deepEqual(numbers(await cluster.answers(16)), [2]);
    writeFileSync(file, '');
    assert.deepEqual(await cluster.seen('exit'), [{ ...orderly, id: 1 }]);
    assert.deepEqual(numbers(await cluster.answers(16)), [2]);
  });

  test("killed as soon as they listen: 'disconnect' comes, too", async (t) => {
    const cluster = await ownCluster(t, { kind: 'killed', workers: 4, served: 0 });
    const killed = { event: 'exit', code: null, signal: 'SIGKILL', exitedAfterDisconnect: false };
    assert.deepEqual(withoutIds(await cluster.seen('exit', 4)), [killed, killed, killed, killed]);
    await cluster.seen('disconnect', 4);
  });

  test('again and again: the primary has no descriptor more', async (t) => {
    const cluster = await ownCluster(t);
    const count = () => readdirSync(`/proc/${cluster.app.pid}/fd`).length;
    let next = 3;
    const replace = async () => {
      cluster.command('fork 2');
      await cluster.served(next + 1);
      for (const id of [next - 2, next - 1]) cluster.command(`disconnect ${id}`);
      await cluster.seen('exit', next - 1);
      next += 2;
    };
    await replace();
    const before = count();
    for (let i = 0; i < 3; i++) await replace();
    // some of the first round may not have been closed yet when they were counted
    await until(
      () => count() <= before,
      () => `${before} descriptors, not ${count()}`,
    );
  });

  test('one after the other, under load, with successors: nobody is refused or lost', async (t) => {
    const cluster = await ownCluster(t);
    const failed: string[] = [];
    let going = true;
    let answered = 0;
    const client = async () => {
      while (going)
        await cluster.ask().then(
          () => answered++,
          (error: Error) => failed.push(error.message),
        );
    };
    const clients = [1, 2, 3, 4].map(client);
    for (const id of [1, 2, 3]) {
      cluster.command('fork 1');
      await cluster.served(2 + id);
      const before = answered;
      await until(() => answered > before + 50, 'answers');
      cluster.command(`disconnect ${id}`);
      await cluster.seen('exit', id);
    }
    going = false;
    await Promise.all(clients);
    assert.deepEqual(failed, []);
    assert.deepEqual(withoutIds(cluster.of('exit')), [orderly, orderly, orderly]);
  });
});

test('workers that are killed under load and replaced by the app: what nobody had accepted is answered', async (t) => {
  const ledger = new Ledger();
  const port = await freePort(HOST);
  const app = startApp(fixture('ledger-cluster.js'), {
    port,
    env: { LEDGER: ledger.path, ADDON: addonPath() },
  });
  t.after(() => app.stop());
  const ready = () => [...app.stderr.matchAll(/worker (\d+) serves/g)].length;
  await until(
    () => ready() >= 2,
    () => `two workers:\n${app.stderr}`,
  );
  const customers = new Customers(port, 16);
  const kills: Kill[] = [];
  for (let i = 0; i < 6; i++) {
    const before = customers.outcomes.length;
    await until(() => customers.outcomes.length > before + 50, 'answers');
    const [pid] = app.workers();
    assert.ok(pid !== undefined);
    const ends = Date.now();
    process.kill(pid, 'SIGKILL');
    kills.push({ pid, at: ends });
    await until(
      () => !lives(pid) && ready() >= 3 + i,
      () => `a successor:\n${app.stderr}`,
    );
  }
  await customers.stop();
  const { answered, accepted, ...faults } = settle(customers.outcomes, ledger.path, kills);
  t.diagnostic(`${answered} answered, ${accepted} lost with those that had accepted them`);
  const { answered: _a, accepted: _b, ...none } = nothing();
  assert.deepEqual(faults, none);
  assert.ok(answered > 300);
});
