// SPDX-License-Identifier: Apache-2.0
// Beside flags that change Node itself: either the hook works, or the app runs as plain Node and the reason is named.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import {
  type App,
  type AppOptions,
  answering,
  census,
  fixture,
  freePort,
  hook,
  hookModule,
  multiplied,
  startApp,
} from './support/app';
import { ask } from './support/ask';
import { temporaryFolder } from './support/temporary';

const major = Number(process.versions.node.split('.')[0]);

interface Answer {
  pid: number;
  required: { active: boolean; workers: number; reason?: string };
}

async function start(t: TestContext, options: AppOptions, script = 'loading-app.cjs'): Promise<App> {
  const app = startApp(fixture(script), { ...options, port: await freePort() });
  t.after(() => app.stop());
  await answering(app.port);
  return app;
}

const api = async (app: App): Promise<Answer['required']> => (await ask<Answer>(app.port, '/')).required;
const ours = ({ stderr }: App): string[] =>
  stderr.split('\n').filter((line) => line.startsWith('fastsocket: '));

describe('flags that mean one process', () => {
  for (const flag of [
    '--inspect=0',
    '--cpu-prof',
    '--heap-prof',
    '--trace-event-categories=node.environment',
  ]) {
    for (const way of ['on the command line', 'in NODE_OPTIONS']) {
      // Node 20 refuses it there
      if (way === 'in NODE_OPTIONS' && flag.endsWith('-prof') && major < 22) continue;
      test(`${flag} ${way}`, async (t) => {
        const folder = temporaryFolder('flags');
        const line = way === 'on the command line';
        const env = { FASTSOCKET_WORKERS: '', ...(line ? {} : { NODE_OPTIONS: flag }) };
        const app = await start(t, { env, execArgv: line ? [flag] : [], cwd: folder });
        const reason = `${flag} means one process unless FASTSOCKET_WORKERS is set`;
        assert.deepEqual(await api(app), { active: false, workers: 0, reason });
        assert.ok(app.stderr.includes(`FASTSOCKET ${app.pid}: one process: ${reason}`), app.stderr);
        assert.deepEqual(ours(app), []);
        assert.deepEqual(app.workers(), []);
      });
    }
  }

  test('--inspect with FASTSOCKET_WORKERS: worker k at the base port + k', async (t) => {
    const base = await freePort('127.0.0.1');
    const app = await start(t, { execArgv: [`--inspect=127.0.0.1:${base}`] });
    await multiplied(app);
    const ports = [...app.stderr.matchAll(/Debugger listening on ws:\/\/127\.0\.0\.1:(\d+)/g)].map(
      ([, port]) => Number(port),
    );
    assert.deepEqual(ports.sort(), [base, base + 1, base + 2]);
  });

  test('--cpu-prof with FASTSOCKET_WORKERS: one profile a process', async (t) => {
    const folder = temporaryFolder('flags');
    const app = await start(
      t,
      { execArgv: ['--cpu-prof', `--cpu-prof-dir=${folder}`], env: { GRACE: '1' } },
      'http-app.js',
    );
    await multiplied(app);
    await app.stop('SIGTERM');
    assert.equal(readdirSync(folder).filter((name) => name.endsWith('.cpuprofile')).length, 3);
  });
});

describe('another platform', () => {
  for (const [name, flags] of [
    ['-r', ['-r', hook]],
    ['--import', ['--import', hookModule]],
  ] as const) {
    test(`${name}: loads and does nothing`, async (t) => {
      const app = await start(t, { hook: ['-r', fixture('platform-darwin.cjs'), ...flags] });
      assert.deepEqual(await api(app), { active: false, workers: 0, reason: 'darwin is not Linux' });
      assert.deepEqual(ours(app), []);
      assert.doesNotMatch(app.stderr, /listener group/);
      assert.deepEqual([...(await census(app.port, 5)).keys()], [app.pid]);
    });
  }
});

describe('another program with a Node in it', () => {
  for (const [name, reason] of [
    ['electron', 'not node but electron'],
    ['nw', 'not node but nw'],
    ['pkg', 'an executable made by pkg'],
  ] as const) {
    test(`${name}: one process`, async (t) => {
      const env = { EMBEDDER: name };
      const app = await start(t, { hook: ['-r', fixture('embedder.cjs'), '-r', hook], env });
      assert.deepEqual(await api(app), { active: false, workers: 0, reason });
      assert.deepEqual(ours(app), []);
      assert.deepEqual([...(await census(app.port, 5)).keys()], [app.pid]);
    });
  }
});

describe('warnings', () => {
  for (const [name, flags] of [
    ['-r', ['-r', hook]],
    ['--import', ['--import', hookModule]],
  ] as const) {
    test(`${name}: none with --pending-deprecation --trace-warnings`, async (t) => {
      const execArgv = ['--pending-deprecation', '--trace-warnings'];
      const plain = await start(t, { hook: false, execArgv });
      const app = await start(t, { hook: [...flags], execArgv });
      await multiplied(app);
      assert.equal(app.stderr.replace(/^FASTSOCKET .*\n/gm, ''), plain.stderr);
    });

    test(`${name}: --throw-deprecation throws nothing`, async (t) => {
      const app = await start(t, {
        hook: [...flags],
        execArgv: ['--pending-deprecation', '--throw-deprecation'],
      });
      assert.equal((await multiplied(app)).length, 2);
    });
  }
});

describe('hardened Node', () => {
  for (const flag of [
    '--frozen-intrinsics',
    '--disallow-code-generation-from-strings',
    '--disable-proto=delete',
    '--disable-proto=throw',
    '--jitless',
    '--no-experimental-require-module',
  ]) {
    // an unknown option ends Node
    if (flag.startsWith('--no-') && !process.allowedNodeEnvironmentFlags.has(flag)) continue;
    test(`${flag}: works`, async (t) => {
      const plain = await start(t, { hook: false, execArgv: [flag] });
      const app = await start(t, { execArgv: [flag] });
      await multiplied(app);
      assert.deepEqual(ours(app), []);
      const own = (text: string) =>
        text.replace(/^FASTSOCKET .*\n/gm, '').replaceAll(/\(node:\d+\)/g, '(node)');
      // once for each process
      assert.deepEqual(new Set(own(app.stderr).split('\n')), new Set(own(plain.stderr).split('\n')));
    });
  }

  const permission = major >= 24 ? '--permission' : '--experimental-permission';
  const reads = [permission, '--allow-fs-read=*', ...(major >= 25 ? ['--allow-net'] : [])];
  // all that Node has a flag for
  const all = ['--allow-fs-write=*', '--allow-addons', '--allow-child-process', '--allow-worker'].filter(
    (flag) => process.allowedNodeEnvironmentFlags.has(flag.replace(/=.*/, '')),
  );
  for (const [name, flags, allowed] of [
    ['-r', ['-r', hook], reads],
    ['--import', ['--import', hookModule], reads],
    ['-r, with all allowed', ['-r', hook], [...reads, ...all]],
  ] as const) {
    test(`${permission}, ${name}: off, with a reason, and the app works`, async (t) => {
      const app = await start(t, { hook: [...flags], execArgv: [...allowed] });
      const { active, reason } = await api(app);
      assert.equal(active, false);
      assert.match(reason ?? '', /^Node does not let the hook see listen\(\): /);
      assert.deepEqual(ours(app), [`fastsocket: the app runs as plain Node: ${reason}`]);
      assert.deepEqual([...(await census(app.port, 5)).keys()], [app.pid]);
    });
  }
});

describe('settings with a mistake', () => {
  for (const [name, value, allowedValues] of [
    ['FASTSOCKET_WORKERS', 'many', 'auto, a number'],
    ['FASTSOCKET_WORKERS', '0', 'auto, a number'],
    ['FASTSOCKET_PIN', 'x', 'auto, on, off, or a list'],
    ['FASTSOCKET_STEER', 'left', 'auto, cpu, hash or ip'],
    ['FASTSOCKET_EXIT_WAIT_MS', 'soon', 'milliseconds'],
    ['FASTSOCKET', 'maybe', 'on, 1, true'],
  ] as const) {
    test(`${name}=${value}`, async (t) => {
      const app = await start(t, { env: { [name]: value, NODE_DEBUG: '' } });
      const lines = app.stderr.split('\n').filter(Boolean);
      assert.equal(lines.length, 1, app.stderr);
      assert.match(
        lines[0] as string,
        new RegExp(
          `^fastsocket: ${name}='${value}' is not allowed \\(${allowedValues}.*\\); the app runs as plain Node$`,
        ),
      );
      assert.equal(app.stdout, '');
      assert.deepEqual([...(await census(app.port, 5)).keys()], [app.pid]);
      assert.deepEqual(app.workers(), []);
    });
  }
});
