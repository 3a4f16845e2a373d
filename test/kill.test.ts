// SPDX-License-Identifier: Apache-2.0
// SIGKILL of workers under load costs what they had accepted, and nothing else; with the controls that do lose more.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Accounts, add, Customers, type Kill, longestWait, nothing, settle } from './support/accounts';
import { addonPath } from './support/addon';
import { type App, fixture, freePort, lives, startApp, until } from './support/app';
import { acceptedBy, standStill, whyNoSockets } from './support/tcp-table';
import { temporaryFolder } from './support/temporary';

const CLIENTS = 32;
const ROUNDS = 10;
const KILLS = 5;
const blind = whyNoSockets();

type Start = (port: number, ledger: string) => App;

interface Round {
  accounts: Accounts;
  longestMs: number;
}

/** Children that have had a connection by now. */
function serving(app: App, ledger: string): number[] {
  const text = readFileSync(ledger, 'utf8');
  return app.workers().filter((pid) => text.includes(`accept ${pid} `));
}

/** With `look` the process is stopped before it is killed, and the kernel is asked for what it has accepted. */
async function kill(pid: number, port: number, look: boolean): Promise<Kill> {
  if (look) await standStill(pid);
  const accepted = look ? await acceptedBy(pid, port) : undefined;
  const at = Date.now();
  process.kill(pid, 'SIGKILL');
  await until(() => !lives(pid), `the end of ${pid}`);
  return { pid, at, accepted };
}

async function killUnderLoad(app: App, ledger: string, kills: number): Promise<Round> {
  await until(() => app.workers().length >= 2, `two workers:\n${app.stderr}`);
  const customers = new Customers(app.port, CLIENTS);
  const done: Kill[] = [];
  while (done.length < kills) {
    const victims = await until(() => {
      const pids = serving(app, ledger);
      return pids.length > 0 && pids;
    }, `a worker that serves:\n${app.stderr}`);
    await sleep(50 + Math.random() * 100);
    const victim = victims[Math.floor(Math.random() * victims.length)] as number;
    done.push(await kill(victim, app.port, blind === undefined && done.length % 2 === 0));
  }
  await sleep(200);
  await customers.stop();
  const { outcomes } = customers;
  return { accounts: settle(outcomes, ledger, done), longestMs: longestWait(outcomes) };
}

/** A steady load on two workers of which a random one is killed, `kills` times. */
async function round(t: TestContext, kills: number, start: Start): Promise<Round> {
  const folder = temporaryFolder('kill');
  const ledger = join(folder, 'ledger');
  writeFileSync(ledger, '');
  const app = start(await freePort('127.0.0.1'), ledger);
  t.after(() => app.stop());
  try {
    return await killUnderLoad(app, ledger, kills);
  } finally {
    const workers = app.workers();
    app.child.kill('SIGKILL');
    for (const pid of workers) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // has ended with its parent
      }
    }
    await app.stop();
  }
}

test('50 workers killed under load: what no process had accepted is answered', async (t) => {
  let total = nothing();
  let longestMs = 0;
  for (let i = 0; i < ROUNDS; i++) {
    const result = await round(t, KILLS, (port, ledger) =>
      startApp(fixture('ledger-app.js'), { port, env: { LEDGER: ledger } }),
    );
    total = add(total, result.accounts);
    longestMs = Math.max(longestMs, result.longestMs);
  }
  t.diagnostic(`${JSON.stringify(total)}, nobody waited longer than ${longestMs} ms`);
  if (blind !== undefined)
    t.diagnostic(`what the killed had accepted is known from their notes alone: ${blind}`);
  const { answered, accepted, ...faults } = total;
  assert.ok(answered > 1_000, `${answered} answered`);
  assert.deepEqual(faults, { refused: 0, hung: 0, queued: 0, wrong: 0 });
  assert.ok(accepted < ROUNDS * KILLS * CLIENTS);
});

/** What breaks, or never ends, though nobody had accepted it: found in four rounds at most, or the test could not find it. */
async function loses(t: TestContext, start: Start): Promise<void> {
  let total = nothing();
  for (let i = 0; i < 4 && total.queued + total.hung === 0; i++) {
    total = add(total, (await round(t, 10, start)).accounts);
  }
  t.diagnostic(JSON.stringify(total));
  assert.ok(total.queued + total.hung > 0, 'nothing was lost');
}

test('the control: round robin loses what it hands over', (t) =>
  loses(t, (port, ledger) =>
    startApp(fixture('ledger-cluster.js'), { port, hook: false, env: { LEDGER: ledger } }),
  ));

test('the control: sockets that only their processes hold lose their queues', (t) =>
  loses(t, (port, ledger) =>
    startApp(fixture('ledger-reuseport.js'), {
      port,
      hook: false,
      env: { LEDGER: ledger, ADDON: addonPath() },
    }),
  ));

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const noReusePort = (major < 22 || (major === 22 && minor < 12)) && 'net ignores reusePort before Node 22.12';

test("the control: so does Node's own reusePort", { skip: noReusePort }, (t) =>
  loses(t, (port, ledger) =>
    startApp(fixture('ledger-cluster.js'), {
      port,
      hook: false,
      env: { LEDGER: ledger, REUSE_PORT: '1' },
    }),
  ),
);
