// SPDX-License-Identifier: Apache-2.0
// Every way to load the hook into every kind of app gives one hook, and the API knows about it.
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  type App,
  type AppOptions,
  answering,
  fixture,
  freePort,
  hook,
  hookModule,
  lives,
  multiplied,
  root,
  startApp,
} from './support/app';
import { ask, askEach } from './support/ask';
import { temporaryFolder } from './support/temporary';

interface Said {
  active: boolean;
  core?: number;
  workers: number;
  reason?: string;
}

interface Answer {
  pid: number;
  required: Said;
  imported: Said;
  core?: string;
}

async function start(t: TestContext, app: string, options: AppOptions): Promise<App> {
  const started = startApp(fixture(app), { ...options, port: await freePort() });
  t.after(() => started.stop());
  await answering(started.port);
  return started;
}

/** The hook once more, under another path. */
function copyOfHook(): string {
  const folder = temporaryFolder('copy');
  for (const part of ['package.json', 'dist', 'prebuilds'])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  return join(folder, 'dist/register.cjs');
}

const WAYS: Record<string, (t: TestContext) => AppOptions> = {
  '-r': () => ({ hook: ['-r', hook] }),
  '--import': () => ({ hook: ['--import', hookModule] }),
  '-r, by the name of the package': () => ({ hook: ['-r', 'fastsocket/register'], cwd: root }),
  '--import, by the name of the package': () => ({ hook: ['--import', 'fastsocket/register'], cwd: root }),
  '-r in NODE_OPTIONS': () => ({ hook: false, env: { NODE_OPTIONS: `-r ${hook}` } }),
  '--import in NODE_OPTIONS': () => ({ hook: false, env: { NODE_OPTIONS: `--import ${hookModule}` } }),
  'both flags': () => ({ hook: ['-r', hook, '--import', hookModule] }),
  'a flag and NODE_OPTIONS': () => ({ hook: ['--import', hookModule], env: { NODE_OPTIONS: `-r ${hook}` } }),
  twice: () => ({ hook: ['-r', hook, '-r', hook] }),
  'two copies': () => ({ hook: ['-r', copyOfHook(), '-r', hook] }),
  'two copies, by both flags': () => ({ hook: ['-r', hook, '--import', copyOfHook()] }),
};

async function assertMultiplied(app: App): Promise<void> {
  const workers = await multiplied(app);
  assert.equal(workers.length, 2);
  for (const { required, imported, core } of await askEach<Answer>(app.port, '/', workers)) {
    assert.deepEqual(required, {
      active: true,
      workers: 2,
      ...(core === undefined || core === 'none' ? {} : { core: Number(core) }),
    });
    assert.deepEqual(imported, required);
  }
  // workers of workers, or of a second hook, would be grandchildren or more children
  assert.deepEqual(app.workers(), workers);
  assert.ok(workers.every(lives));
  assert.equal(app.stdout, '');
  assert.doesNotMatch(app.stderr, /^fastsocket: /m);
  assert.equal(app.stderr.match(/a first copy is started/g)?.length, 1);
}

for (const program of ['loading-app.cjs', 'loading-app.mjs']) {
  describe(program, { concurrency: 2 }, () => {
    for (const [way, options] of Object.entries(WAYS)) {
      test(way, async (t) => {
        const app = await start(t, program, options(t));
        await assertMultiplied(app);
      });
    }
  });
}

test('an app may load the hook itself, before it listens', async (t) => {
  const app = await start(t, 'loading-app.cjs', { hook: false, env: { REQUIRE: hook } });
  await assertMultiplied(app);
});

describe('what the API says', () => {
  const says = async (app: App): Promise<Said> => {
    const { required, imported } = await ask<Answer>(app.port, '/');
    assert.deepEqual(imported, required);
    return required;
  };

  test('without the hook', async (t) => {
    const app = await start(t, 'loading-app.cjs', { hook: false });
    assert.deepEqual(await says(app), {
      active: false,
      workers: 0,
      reason: 'fastsocket/register is not loaded in this process',
    });
  });

  test('in the origin before there are workers', async (t) => {
    const app = await start(t, 'loading-app.cjs', { env: { ORIGINAL_ONLY: '1' } });
    const { pid, required } = await ask<Answer>(app.port, '/');
    assert.equal(pid, app.pid);
    assert.deepEqual(required, { active: false, workers: 0 });
  });

  for (const [env, reason] of [
    [{ FASTSOCKET: 'off' }, /^FASTSOCKET=off$/],
    [{ FASTSOCKET_WORKERS: '1' }, /^one worker is no gain \(workers 1 as asked for/],
    [{ FASTSOCKET_WORKERS: 'many' }, /FASTSOCKET_WORKERS='many' is not allowed/],
  ] as const) {
    test(JSON.stringify(env), async (t) => {
      const app = await start(t, 'loading-app.mjs', { env });
      const { active, workers, reason: said } = await says(app);
      assert.deepEqual([active, workers], [false, 0]);
      assert.match(said ?? '', reason);
    });
  }
});
