// SPDX-License-Identifier: Apache-2.0
// Apps that give up their privileges: in every process or in some, before they listen, then, or later. Root only.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type App,
  type AppOptions,
  answering,
  census,
  fixture,
  freePort,
  hook,
  multiplied,
  startApp,
  until,
} from './support/app';
import { ask, askEach } from './support/ask';
import { noneLeft } from './support/ending';
import { Load } from './support/load';
import { refusing } from './support/refuse';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
const NOBODY = 65534;
const WATCHED_MS = 1_500;

interface Facts {
  pid: number;
  uid: number;
  gid: number;
  groups: number[];
  asRoot: string;
  groupsOfRoot: string;
}

/** Nobody must be able to read the hook, and to run Node. */
function whyNot(): false | string {
  if (process.getuid?.() !== 0) return 'needs root';
  const reads = `require('node:fs').readFileSync(${JSON.stringify(hook)})`;
  const { status } = spawnSync(process.execPath, ['-e', reads], { uid: NOBODY, gid: NOBODY, cwd: '/' });
  return status !== 0 && 'nobody can read the files of this project';
}

/** One that only root may bind (ip(7), ip_unprivileged_port_start). */
async function lowPort(): Promise<number> {
  for (;;) {
    const port = 600 + Math.floor(Math.random() * 400);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen({ port, host: HOST, exclusive: true }, () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

async function start(t: TestContext, env: Record<string, string>, options: AppOptions = {}): Promise<App> {
  const port = env['WHEN'] === 'start' ? await freePort(HOST) : await lowPort();
  const app = startApp(fixture('drop-app.js'), { port, ...options, env: { HOST, ...env } });
  t.after(() => app.stop());
  await answering(port, HOST);
  return app;
}

const nobody = (pid: number): Facts => ({
  pid,
  uid: NOBODY,
  gid: NOBODY,
  groups: [NOBODY],
  asRoot: 'EPERM',
  groupsOfRoot: 'EPERM',
});

/** Kills worker 2 and waits for its successor. */
async function replaced(app: App): Promise<number[]> {
  const [other, victim] = app.workers() as [number, number];
  const ready = () => app.stderr.match(/worker 2 is ready/g)?.length ?? 0;
  const before = ready();
  process.kill(victim, 'SIGKILL');
  await until(
    () => ready() > before,
    () => `a successor:\n${app.stderr}`,
  );
  const now = await until(() => app.workers().length === 2 && app.workers(), 'two workers');
  assert.equal(now[0], other);
  return now;
}

const quiet = (app: App) => assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);

describe('privileges', { skip: whyNot() }, () => {
  for (const when of ['start', 'listening'])
    test(`given up by every process (${when}): as plain Node, and successors come as who the app is by then`, async (t) => {
      const env = { WHO: 'all', WHEN: when };
      const plain = await start(t, env, { hook: false });
      assert.deepEqual(await ask<Facts>(plain.port, '/facts'), nobody(plain.pid));
      await plain.stop();
      const app = await start(t, env);
      const workers = await multiplied(app, 2, HOST);
      assert.deepEqual(await askEach<Facts>(app.port, '/facts', workers), workers.map(nobody));
      const load = new Load(app.port, { clients: 2, host: HOST });
      t.after(() => load.stop());
      const now = await replaced(app);
      assert.deepEqual(await askEach<Facts>(app.port, '/facts', now), now.map(nobody));
      const { refused, cut } = await load.served();
      assert.deepEqual([refused, cut], [0, 0]);
      quiet(app);
      process.kill(app.pid, 'SIGKILL');
      await noneLeft(now);
    });

  for (const errno of ['EPERM', 'ENOSYS', 'EINVAL'])
    test(`a sandbox that refuses setgroups() (${errno}): every process is told so, as plain Node is`, async (t) => {
      const options: AppOptions = { prefix: refusing(`setgroups:${errno}`) };
      const env = { WHO: 'all', WHEN: 'start', KEEP: 'yes' };
      const plain = await start(t, env, { ...options, hook: false });
      const { groupsOfRoot, groups } = await ask<Facts>(plain.port, '/facts');
      assert.equal(groupsOfRoot, errno);
      await plain.stop();
      const app = await start(t, env, options);
      for (const facts of await askEach<Facts>(app.port, '/facts', await multiplied(app, 2, HOST)))
        assert.deepEqual([facts.groupsOfRoot, facts.groups], [errno, groups]);
      quiet(app);
    });

  test('given up by the workers alone: they are helped when they block, and replaced', async (t) => {
    const app = await start(t, { WHO: 'workers', WHEN: 'listening' });
    const workers = await multiplied(app, 2, HOST);
    assert.deepEqual(await askEach<Facts>(app.port, '/facts', workers), workers.map(nobody));
    // the shared page, the eventfd and the offers still work: whoever blocks is steered around
    await until(
      async () => {
        const blocked = ask(app.port, '/block', HOST).catch(() => {});
        await Promise.all(Array.from({ length: 30 }, () => census(app.port, 1, HOST)));
        await blocked;
        return /balancing: /.test(app.stderr);
      },
      () => `one is excluded:\n${app.stderr}`,
    );
    const now = await replaced(app);
    assert.deepEqual(await askEach<Facts>(app.port, '/facts', now), now.map(nobody));
    quiet(app);
  });

  test('given up by the origin alone, later: workers go on as root, and end with it', async (t) => {
    const app = await start(t, { WHO: 'origin', WHEN: 'asked' });
    const workers = await multiplied(app, 2, HOST);
    process.kill(app.pid, 'SIGUSR1');
    await app.said(/^dropped/m);
    const told = await askEach<Facts>(app.port, '/facts', workers);
    // asking for root's user changes nothing here
    assert.deepEqual(
      told.map(({ uid, asRoot }) => [uid, asRoot]),
      workers.map(() => [0, 'done']),
    );
    const now = await replaced(app);
    const [successor] = await askEach<Facts>(app.port, '/facts', now.slice(1));
    assert.equal(successor?.uid, NOBODY);
    quiet(app);
    process.kill(app.pid, 'SIGKILL');
    await noneLeft(now);
  });

  test('a successor that may not read its key: said once, and the others have its share', async (t) => {
    const folder = temporaryFolder('key');
    chmodSync(folder, 0o755);
    const key = join(folder, 'key');
    writeFileSync(key, 'secret', { mode: 0o600 });
    const app = await start(t, { WHO: 'origin', WHEN: 'asked', KEY: key });
    const [other, victim] = (await multiplied(app, 2, HOST)) as [number, number];
    process.kill(app.pid, 'SIGUSR1');
    await app.said(/^dropped/m);
    const load = new Load(app.port, { clients: 2, host: HOST });
    t.after(() => load.stop());
    process.kill(victim, 'SIGKILL');
    await app.said(/^fastsocket: .*/m);
    const attempts = () => app.stderr.match(/worker 2 ended \(code 1/g)?.length;
    assert.equal(attempts(), 3);
    await sleep(WATCHED_MS);
    assert.equal(attempts(), 3, 'no more of them');
    const lines = app.stderr.match(/^fastsocket: .*/gm) as string[];
    assert.equal(lines.length, 1, app.stderr);
    assert.match(
      lines[0] as string,
      /^fastsocket: worker 2 cannot be started again as user 65534 and group 65534, which the app has become: it exited with code 1; its share goes to the others/,
    );
    assert.deepEqual([...(await census(app.port, 30, HOST)).keys()], [other]);
    const { refused, cut } = await load.served();
    assert.deepEqual([refused, cut], [0, 0]);
    // the last one goes, too: the app serves by itself
    process.kill(other, 'SIGKILL');
    await until(
      async () => [...(await census(app.port, 4, HOST)).keys()].join() === String(app.pid),
      () => `answers by the origin:\n${app.stderr}`,
    );
    assert.equal(app.stderr.match(/^fastsocket: .*/gm)?.length, 1);
  });

  test('a copy that may not read its key from the first: plain Node, and the reason names the user', async (t) => {
    const folder = temporaryFolder('key');
    chmodSync(folder, 0o755);
    const key = join(folder, 'key');
    writeFileSync(key, 'secret', { mode: 0o600 });
    const app = await start(t, { WHO: 'all', WHEN: 'listening', KEY: key });
    const [line] = await app.said(/^fastsocket: .*/m);
    assert.match(
      line,
      /the app runs as plain Node: the copy exited with code 1 .*\(started as user 65534 and group 65534, which the app has become\)/,
    );
    assert.deepEqual([...(await census(app.port, 4, HOST)).keys()], [app.pid]);
  });
});
