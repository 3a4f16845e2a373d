// SPDX-License-Identifier: Apache-2.0
// The queue of a worker that is killed outlives it; with the control where it does not.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { type App, fixture, startApp, until } from './support/app';
import { Namespace, whyNoNamespaces } from './support/netns';
import { queueOf, standStill, whyNoSockets } from './support/tcp-table';
import { temporaryFolder } from './support/temporary';

const skip = whyNoNamespaces() ?? whyNoSockets() ?? false;
const PORT = 8080;
/** Over two workers: a thousand and more on either (2,200 draws at one half, 1,000 is 4 standard deviations below). */
const CROWD = 2_200;
/** Likewise for 300. */
const SMALL_CROWD = 700;
const BLOCK = 'GET /block HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n';

interface Crowd {
  answeredAt: number[];
  failed: number;
  hung: number;
}

interface Scene {
  namespace: Namespace;
  /** The ids that have been asked for, by pid. */
  requests(): { pid: number; id: string }[];
  env: Record<string, string>;
}

function scene(t: TestContext): Scene {
  const namespace = new Namespace(t, 'queue');
  namespace.sysctl('net.core.somaxconn', 2048);
  namespace.sysctl('net.ipv4.tcp_max_syn_backlog', 4096);
  const folder = temporaryFolder('queue');
  const ledger = join(folder, 'ledger');
  writeFileSync(ledger, '');
  const requests = () =>
    readFileSync(ledger, 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([kind]) => kind === 'request')
      .map(([, pid, id = '']) => ({ pid: Number(pid), id }));
  return { namespace, requests, env: { LEDGER: ledger } };
}

async function start(t: TestContext, { namespace, env }: Scene, host: string): Promise<App> {
  const app = startApp(fixture('ledger-app.js'), {
    port: PORT,
    prefix: namespace.prefix,
    // a blocked worker keeps its queue: siblings would have it before it is killed
    env: { ...env, HOST: host, FASTSOCKET_BALANCE: 'off' },
  });
  t.after(() => app.stop());
  await app.said(/worker 1 is ready/);
  await app.said(/worker 2 is ready/);
  return app;
}

/** A crowd comes; `meanwhile` runs when all of it is connected. */
async function crowd(
  t: TestContext,
  { namespace }: Scene,
  count: number,
  host: string,
  meanwhile: () => Promise<void>,
): Promise<Crowd> {
  const [command, ...words] = [...namespace.prefix, process.execPath, fixture('crowd.js')];
  const clients = spawn(command as string, words, {
    env: { ...process.env, PORT: String(PORT), HOST: host, COUNT: String(count) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => clients.kill('SIGKILL'));
  let text = '';
  clients.stdout.on('data', (data) => {
    text += data;
  });
  const ended = once(clients, 'close');
  await until(() => text.includes('connected'), `the crowd: ${text}`, 30_000);
  await meanwhile();
  await ended;
  return JSON.parse(text.split('\n')[1] ?? '') as Crowd;
}

const dropped = ({ namespace }: Scene) => [
  namespace.counter('ListenOverflows'),
  namespace.counter('ListenDrops'),
];

/** How long those waited whose turn came after the kill. */
function report(t: TestContext, { answeredAt }: Crowd, killedAt: number, queued: number): void {
  const waits = answeredAt.map((at) => at - killedAt).filter((ms) => ms >= 0);
  const [first, median, last] = [0, Math.floor(queued / 2), queued - 1].map((i) => waits[i]);
  t.diagnostic(
    `${queued} were queued; answered ${first} (first), ${median}, ${last} ms (last) after the kill`,
  );
}

test('a thousand connections queued on a worker that is killed are all answered', { skip }, async (t) => {
  const it = scene(t);
  const app = await start(t, it, '127.0.0.1');
  const before = dropped(it);
  const [victim = 0, other = 0] = app.workers();
  for (const pid of [victim, other]) await standStill(pid);
  let queued = 0;
  let killedAt = 0;
  const result = await crowd(t, it, CROWD, '127.0.0.1', async () => {
    queued = await queueOf(victim, PORT, it.namespace.prefix);
    killedAt = Date.now();
    process.kill(victim, 'SIGKILL');
    // the other one stands still all the while: it is not the one that answers them
    await until(() => it.requests().length >= queued, `${queued} answers:\n${app.stderr}`);
    process.kill(other, 'SIGCONT');
  });
  assert.ok(queued >= 1_000, `${queued} were queued`);
  assert.equal(it.requests().length, CROWD, 'each is asked of one process');
  assert.deepEqual(
    { ...result, answeredAt: result.answeredAt.length },
    { answeredAt: CROWD, failed: 0, hung: 0 },
  );
  assert.deepEqual(dropped(it), before);
  report(t, result, killedAt, queued);
});

for (const host of ['127.0.0.1', '::1']) {
  test(`300 connections queued on a worker that computes and is killed are all answered (${host})`, {
    skip,
  }, async (t) => {
    const it = scene(t);
    const app = await start(t, it, host);
    const before = dropped(it);
    const ask = `require('net').connect(${PORT}, '${host}').write('${BLOCK}', () => process.exit())`;
    it.namespace.run(process.execPath, '-e', ask);
    const victim = await until(() => it.requests().find(({ id }) => id === 'block')?.pid, 'a blocked worker');
    let queued = 0;
    let killedAt = 0;
    const result = await crowd(t, it, SMALL_CROWD, host, async () => {
      queued = await queueOf(victim, PORT, it.namespace.prefix);
      killedAt = Date.now();
      process.kill(victim, 'SIGKILL');
    });
    assert.ok(app.pid !== victim && queued >= 300, `${queued} were queued`);
    assert.deepEqual(
      { ...result, answeredAt: result.answeredAt.length },
      { answeredAt: SMALL_CROWD, failed: 0, hung: 0 },
    );
    assert.deepEqual(dropped(it), before);
    report(t, result, killedAt, queued);
  });
}

test('the control: a socket that only its process holds takes its queue with it', { skip }, async (t) => {
  const it = scene(t);
  const app = startApp(fixture('ledger-reuseport.js'), {
    port: PORT,
    hook: false,
    prefix: it.namespace.prefix,
    env: { ...it.env, ADDON: addonPath() },
  });
  t.after(() => {
    for (const pid of app.workers()) process.kill(pid, 'SIGKILL');
    return app.stop();
  });
  await app.said(/listening[\s\S]*listening/);
  const [victim = 0, other = 0] = await until(
    () => app.workers().length === 2 && app.workers(),
    'two processes',
  );
  for (const pid of [victim, other]) await standStill(pid);
  let queued = 0;
  const { failed } = await crowd(t, it, CROWD, '127.0.0.1', async () => {
    queued = await queueOf(victim, PORT, it.namespace.prefix);
    process.kill(victim, 'SIGKILL');
    process.kill(other, 'SIGCONT');
  });
  assert.ok(queued >= 1_000, `${queued} were queued`);
  assert.ok(failed >= queued, `${failed} lost of ${queued} that were queued`);
});
