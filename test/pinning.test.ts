// SPDX-License-Identifier: Apache-2.0
// Only the event loops are pinned; everything else in the process, and what it starts, sees the mask it would have had.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { parseCpuList } from '../lib/config/cpulist';
import {
  type App,
  type AppOptions,
  answering,
  fixture,
  freePort,
  multiplied,
  startApp,
  until,
} from './support/app';
import { askEach } from './support/ask';

interface Threads {
  pid: number;
  main: string;
  others: Record<string, number>;
  names: Record<string, string>;
  thread: string;
  threadParallelism: number;
  program: string;
  shell: string;
  parallelism: number;
  cpus: number;
  error?: string;
}

const mask = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
const cpus = parseCpuList(mask) ?? [];
const onTwo = cpus.length >= 2 ? {} : { skip: `needs two CPUs, this process may use ${mask}` };

async function start(
  t: TestContext,
  env: Record<string, string> = {},
  options: AppOptions = {},
): Promise<App> {
  const app = startApp(fixture('identity.js'), {
    ...options,
    port: await freePort(),
    env: { API: 'none', ...env },
  });
  t.after(() => app.stop());
  await answering(app.port);
  return app;
}

async function plainThreads(t: TestContext): Promise<Threads> {
  const plain = await start(t, {}, { hook: false });
  const [threads] = await askEach<Threads>(plain.port, '/threads', [plain.pid]);
  await plain.stop();
  return threads as Threads;
}

/** CPUs of the event loops of two workers. */
async function loops(
  t: TestContext,
  env: Record<string, string>,
  options: AppOptions = {},
): Promise<{ app: App; mains: string[] }> {
  const app = await start(t, env, options);
  const workers = await multiplied(app);
  const mains = workers.map(
    (pid) => /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '',
  );
  return { app, mains: mains.sort() };
}

describe('pinning', onTwo, () => {
  test('event loops have a CPU each, everything else has them all', async (t) => {
    const expected = await plainThreads(t);
    assert.equal(expected.error, undefined);
    assert.deepEqual(Object.keys(expected.others), [mask]);
    const app = await start(t);
    const pids = await multiplied(app);
    // threads of native addons are found by looking now and then
    const settled = await until(
      async () => {
        const all = await askEach<Threads>(app.port, '/threads', pids);
        return all.every(({ others }) => Object.keys(others).length === 1) ? all : undefined;
      },
      'one mask for all other threads',
      30_000,
    );
    for (const threads of settled) {
      const { main, others, ...rest } = threads;
      assert.ok(cpus.map(String).includes(main), `${main} is one CPU`);
      assert.deepEqual(Object.keys(others), [mask]);
      assert.ok(
        (others[mask] ?? 0) >= 8,
        `the pool, V8's and those of sharp: ${JSON.stringify(threads.names)}`,
      );
      const { thread, threadParallelism, program, shell, parallelism, cpus: count } = rest;
      assert.deepEqual([thread, program, shell], [mask, mask, mask]);
      assert.deepEqual(
        [threadParallelism, parallelism, count],
        [expected.threadParallelism, expected.parallelism, expected.cpus],
      );
    }
    assert.equal(new Set(settled.map(({ main }) => main)).size, 2);
  });

  test('the thread pool is never pinned, not even for a moment', async (t) => {
    const app = await start(t);
    const pids = await multiplied(app);
    for (const { masks } of await askEach<{ pid: number; masks: Record<string, number> }>(
      app.port,
      '/pool',
      pids,
    ))
      assert.deepEqual(Object.keys(masks), [mask]);
  });

  test('FASTSOCKET_PIN=off', async (t) => {
    const { mains } = await loops(t, { FASTSOCKET_PIN: 'off' });
    assert.deepEqual(mains, [mask, mask]);
  });

  test('FASTSOCKET_PIN, a list', async (t) => {
    const chosen = cpus.slice(-2).map(String);
    const { mains } = await loops(t, { FASTSOCKET_PIN: chosen.join(',') });
    assert.deepEqual(mains, [...chosen].sort());
  });

  test('fewer CPUs in the list than workers: unpinned, and told why', async (t) => {
    const { app, mains } = await loops(t, { FASTSOCKET_PIN: String(cpus[0]) });
    assert.deepEqual(mains, [mask, mask]);
    assert.match(app.stderr, /not pinned: 2 workers on 1 CPUs/);
  });

  test('a CPU outside the mask: unpinned, and told why', async (t) => {
    const { app, mains } = await loops(t, { FASTSOCKET_PIN: '0,8000' });
    assert.deepEqual(mains, [mask, mask]);
    assert.match(app.stderr, /not pinned: FASTSOCKET_PIN names CPUs outside the affinity mask \(8000 not in/);
  });

  test('more workers than CPUs: unpinned', async (t) => {
    const { mains } = await loops(
      t,
      { FASTSOCKET_WORKERS: '2' },
      { prefix: ['taskset', '-c', String(cpus[0])] },
    );
    assert.deepEqual(mains, [String(cpus[0]), String(cpus[0])]);
  });

  test('one CPU: no workers', async (t) => {
    const app = await start(
      t,
      { FASTSOCKET_WORKERS: '' },
      { prefix: ['taskset', '-c', String(cpus.at(-1))] },
    );
    assert.match(app.stderr, /one worker is no gain/);
    assert.doesNotMatch(app.stderr, /listener group/);
  });

  test('as many workers as CPUs in the mask, by default', async (t) => {
    const chosen = cpus.slice(0, 2).join(',');
    const { app } = await loops(t, { FASTSOCKET_WORKERS: '' }, { prefix: ['taskset', '-c', chosen] });
    assert.equal(app.workers().length, 2);
    assert.match(app.stderr, /auto: least of 2 CPUs in the mask/);
  });
});
