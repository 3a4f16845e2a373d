// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Accounts, Customers, settle } from './support/accounts';

import { type App, answering, fixture, freePort, startApp, until } from './support/app';

const CLIENTS = 32;
const ROUNDS = 10;
const KILLS = 5;

function add(a: Accounts, b: Accounts): Accounts {
  return Object.fromEntries(
    Object.entries(a).map(([key, n]) => [key, n + b[key as keyof Accounts]]),
  ) as unknown as Accounts;
}

/** A steady load while a random worker is killed, `kills` times; each kill waits until that worker serves. */
async function round(
  t: TestContext,
  kills: number,
  start: (port: number, ledger: string) => App,
): Promise<Accounts> {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-kill-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, 'ledger');
  writeFileSync(ledger, '');
  const port = await freePort('127.0.0.1');
  const app = start(port, ledger);
  try {
    if (app.stderr !== undefined) await answering(port);
    await until(() => app.workers().length >= 2, `two workers:\n${app.stderr}`);
    const customers = new Customers(port, CLIENTS);
    for (let kill = 0; kill < kills; kill++) {
      await sleep(100 + Math.random() * 100);
      const workers = await until(() => {
        const pids = app.workers();
        return pids.length > 0 && pids;
      }, 'a worker that lives');
      process.kill(workers[Math.floor(Math.random() * workers.length)] as number, 'SIGKILL');
    }
    await sleep(200);
    await customers.stop();
    return settle(customers.outcomes, ledger);
  } finally {
    const workers = app.workers();
    await app.stop();
    for (const pid of workers) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // has ended with its parent
      }
    }
  }
}

test('50 workers killed under load: what no process had accepted is answered', async (t) => {
  let total: Accounts = { answered: 0, refused: 0, hung: 0, accepted: 0, queued: 0, wrong: 0 };
  for (let i = 0; i < ROUNDS; i++) {
    const accounts = await round(t, KILLS, (port, ledger) => {
      return startApp(fixture('ledger-app.js'), { port, env: { LEDGER: ledger } });
    });
    total = add(total, accounts);
  }
  t.diagnostic(JSON.stringify(total));
  const { answered, queued, ...rest } = total;
  assert.ok(answered > 1_000, `${answered} answered`);
  assert.deepEqual(
    { refused: rest.refused, hung: rest.hung, wrong: rest.wrong },
    { refused: 0, hung: 0, wrong: 0 },
  );
  // a process can be killed between accept4() and its note of it: one connection a kill, which looks like a queued one
  assert.ok(queued <= ROUNDS * KILLS * 0.2, `${queued} lost that nobody had noted`);
  assert.ok(rest.accepted <= ROUNDS * KILLS * CLIENTS);
});

test('the control: round robin leaves connections without an end', async (t) => {
  let total: Accounts = { answered: 0, refused: 0, hung: 0, accepted: 0, queued: 0, wrong: 0 };
  for (let i = 0; i < 4 && total.hung === 0; i++) {
    const accounts = await round(t, 10, (port, ledger) => {
      return startApp(fixture('ledger-cluster.js'), { port, hook: false, env: { LEDGER: ledger } });
    });
    total = add(total, accounts);
  }
  t.diagnostic(JSON.stringify(total));
  assert.ok(total.hung + total.queued > 0, 'round robin lost nothing: the test could not have found it');
});
