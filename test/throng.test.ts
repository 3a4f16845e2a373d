// SPDX-License-Identifier: Apache-2.0
// throng forks cluster workers: they have sockets of their own, and the rest is as in plain Node.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Customers } from './support/accounts';
import { addonPath } from './support/addon';
import { type App, answering, fixture, freePort, request, root, startApp, until } from './support/app';
import { exited, noneLeft, portFree } from './support/ending';

const HOST = '127.0.0.1';
const QUESTIONS = 48;
/** What waits for the primary waits until it goes on. */
const PATIENCE_MS = 5_000;

interface Note {
  event: string;
  pid: number;
  id?: number;
}

interface Said {
  id: number;
  pid: number;
  accepted: number;
  active: boolean;
  reason?: string;
}

const notes = (app: App, event: string): Note[] =>
  app.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Note)
    .filter((note) => note.event === event);

async function who(port: number): Promise<Said> {
  const text = await request(port, '/who');
  return JSON.parse(text.slice(text.indexOf('{'))) as Said;
}

async function start(t: TestContext, hooked: boolean, env: Record<string, string> = {}): Promise<App> {
  const port = await freePort(HOST);
  const app = startApp(fixture('throng-app.js'), {
    port,
    hook: hooked,
    env: { ADDON: addonPath(), API: join(root, 'dist/index.cjs'), ...env },
  });
  t.after(() => app.stop());
  await listening(app, 2);
  await answering(port, HOST);
  return app;
}

/** So many workers have come to listen, and, with the hook, serve from sockets of their own. */
async function listening(app: App, count: number): Promise<void> {
  const hooked = app.child.spawnargs.includes('-r');
  await until(
    () =>
      notes(app, 'listens').length >= count &&
      (!hooked || [...app.stderr.matchAll(/worker \d+ serves \S+ from socket/g)].length >= count),
    () => `${count} workers:\n${app.stdout}\n${app.stderr}`,
  );
}

/** Who answers while the primary is stopped; nobody where it takes too long. */
async function withoutPrimary(app: App): Promise<Said[]> {
  process.kill(app.pid, 'SIGSTOP');
  try {
    const all = Promise.all(Array.from({ length: QUESTIONS }, () => who(app.port)));
    return await Promise.race([all, sleep(PATIENCE_MS, [], { ref: false })]);
  } finally {
    process.kill(app.pid, 'SIGCONT');
  }
}

/** The same, of two: on a busy machine one may be steered around, which nobody ends while the primary is stopped. */
const twoWithoutPrimary = (app: App): Promise<Said[]> =>
  until(async () => {
    const said = await withoutPrimary(app);
    return new Set(said.map(({ pid }) => pid)).size === 2 && said;
  }, 'answers of both');

test('workers serve by themselves, the function of the primary runs once', async (t) => {
  const admin = await freePort(HOST);
  const app = await start(t, true, { ADMIN: `${admin}` });
  const said = await twoWithoutPrimary(app);
  assert.deepEqual([...new Set(said.map(({ id }) => id))].sort(), [1, 2]);
  for (const { accepted, active, reason } of said) {
    assert.ok(accepted > 0);
    assert.deepEqual([active, reason], [true, undefined]);
  }
  assert.deepEqual(
    notes(app, 'master').map(({ pid }) => pid),
    [app.pid],
  );
  for (let i = 0; i < 8; i++) assert.equal((await who(admin)).pid, app.pid);
  assert.equal(app.workers().length, 2);
});

test('a worker that is killed is replaced, and its successor serves by itself', async (t) => {
  const app = await start(t, true);
  const [victim] = app.workers();
  process.kill(victim as number, 'SIGKILL');
  await listening(app, 3);
  const said = await twoWithoutPrimary(app);
  assert.ok(said.every(({ pid }) => pid !== victim));
});

describe('ends', { concurrency: 1 }, () => {
  for (const hooked of [false, true])
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      test(`by ${signal} ${hooked ? 'with the hook' : 'in plain Node'}: each worker hears of it once`, async (t) => {
        const app = await start(t, hooked);
        const workers = app.workers();
        const customers = new Customers(app.port, 8);
        await until(() => customers.outcomes.length > 100, 'answers');
        process.kill(app.pid, signal);
        await until(() => notes(app, signal).length > 0, 'the signal');
        await customers.stop();
        assert.deepEqual(await exited(app), { code: 0, signal: null });
        assert.ok(await portFree(app.port));
        await noneLeft(workers);
        // all that they have noted has come
        await app.ended;
        assert.deepEqual(
          notes(app, signal)
            .map(({ pid }) => pid)
            .sort(),
          workers.sort(),
        );
        const of = (wanted: string) => customers.outcomes.filter(({ end }) => end === wanted).length;
        t.diagnostic(`${of('answered')} answered, ${of('broken')} reset, ${of('hung')} never answered`);
      });
});
