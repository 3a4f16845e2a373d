// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { type App, fixture, startApp, until } from './support/app';
import { Namespace, whyNoNamespaces } from './support/netns';

const skip = whyNoNamespaces() ?? false;
const PORT = 8080;
/** Over two workers: about a thousand on the one that is killed. */
const COUNT = 2_000;

interface Crowd {
  answered: number;
  failed: number;
  hung: number;
}

interface Scene {
  namespace: Namespace;
  ledger: string;
}

function scene(t: TestContext): Scene {
  const namespace = new Namespace(t, 'queue');
  namespace.sysctl('net.core.somaxconn', 2048);
  namespace.sysctl('net.ipv4.tcp_max_syn_backlog', 4096);
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-queue-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, 'ledger');
  writeFileSync(ledger, '');
  return { namespace, ledger };
}

/** Both workers stand still, a crowd queues on them, one is killed, the other goes on. */
async function killOne(
  t: TestContext,
  { namespace }: Scene,
  app: App,
  workers: number[],
): Promise<Crowd & { firstMs: number }> {
  const [victim, survivor] = workers as [number, number];
  for (const pid of [victim, survivor]) process.kill(pid, 'SIGSTOP');
  const [command, ...words] = [...namespace.prefix, process.execPath, fixture('crowd.js')];
  const crowd = spawn(command as string, words, {
    env: { ...process.env, PORT: String(PORT), COUNT: String(COUNT) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => crowd.kill('SIGKILL'));
  let text = '';
  crowd.stdout.on('data', (data) => {
    text += data;
  });
  await until(() => text.includes('connected'), `the crowd: ${text} ${app.stderr}`, 30_000);
  const killed = performance.now();
  process.kill(victim, 'SIGKILL');
  process.kill(survivor, 'SIGCONT');
  await once(crowd, 'close');
  return { ...(JSON.parse(text.split('\n')[1] ?? '{}') as Crowd), firstMs: performance.now() - killed };
}

test('a thousand connections queued on a worker that is killed are all answered', { skip }, async (t) => {
  const it = scene(t);
  const app = startApp(fixture('ledger-app.js'), {
    port: PORT,
    prefix: it.namespace.prefix,
    env: { LEDGER: it.ledger },
  });
  t.after(() => app.stop());
  await app.said(/worker 1 is ready/);
  await app.said(/worker 2 is ready/);
  const before = [it.namespace.counter('ListenOverflows'), it.namespace.counter('ListenDrops')];
  const { answered, failed, hung, firstMs } = await killOne(t, it, app, app.workers());
  assert.deepEqual({ answered, failed, hung }, { answered: COUNT, failed: 0, hung: 0 });
  assert.deepEqual([it.namespace.counter('ListenOverflows'), it.namespace.counter('ListenDrops')], before);
  t.diagnostic(`all answered ${Math.round(firstMs)} ms after the kill`);
});

test('the control: a socket that only its process holds takes its queue with it', { skip }, async (t) => {
  const it = scene(t);
  const app = startApp(fixture('ledger-reuseport.js'), {
    port: PORT,
    hook: false,
    prefix: it.namespace.prefix,
    env: { LEDGER: it.ledger, ADDON: addonPath() },
  });
  t.after(() => {
    for (const pid of app.workers()) process.kill(pid, 'SIGKILL');
    return app.stop();
  });
  await app.said(/listening[\s\S]*listening/);
  await until(() => app.workers().length === 2, 'two processes');
  const { failed } = await killOne(t, it, app, app.workers());
  assert.ok(failed > COUNT / 4, `${failed} of ${COUNT} lost`);
});
