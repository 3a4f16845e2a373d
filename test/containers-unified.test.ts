// SPDX-License-Identifier: Apache-2.0
// Limits of a v2 control group, from its files to the number of workers.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { type App, answering, census, fixture, freePort, multiplied, startApp } from './support/app';
import { needsUnified, UnifiedGroup } from './support/unified-group';

const HOST = '127.0.0.1';
const MIB = 1024 * 1024;
const few = availableParallelism() < 2 && 'needs two CPUs';

async function start(t: TestContext, group: UnifiedGroup, workers = 'auto'): Promise<App> {
  const port = await freePort(HOST);
  const env = { HOST, FASTSOCKET_WORKERS: workers };
  const app = startApp(fixture('http-app.js'), { port, env, prefix: group.prefix });
  t.after(() => app.stop());
  await answering(port, HOST);
  return app;
}

async function staysOne(app: App): Promise<string> {
  const [line] = await app.said(/: workers auto: .*/);
  await app.said(/one process: one worker is no gain/);
  assert.deepEqual(app.workers(), []);
  assert.deepEqual([...(await census(app.port, 5, HOST)).keys()], [app.pid]);
  return line;
}

describe('a v2 group', needsUnified(), () => {
  test('a quota of 1.5 CPUs: two workers, not pinned', { skip: few }, async (t) => {
    const group = new UnifiedGroup(t).own('cpu.max', '150000 100000').own('memory.max', 'max');
    const app = await start(t, group);
    assert.equal((await multiplied(app, 2, HOST)).length, 2);
    const [line] = await app.said(/: workers auto: .*/);
    assert.match(line, /quota 1\.5 rounded up = 2\b.* = 2; not pinned: a quota of 1\.5 CPUs does not cover/);
    assert.ok(line.includes(`quota 1.5 CPUs (${group.path}/cpu.max)`), line);
  });

  test('max is no quota: a worker for each CPU', { skip: few }, async (t) => {
    const group = new UnifiedGroup(t).own('cpu.max', 'max 100000').own('memory.max', 'max');
    const app = await start(t, group);
    assert.equal((await multiplied(app, availableParallelism(), HOST)).length, availableParallelism());
    assert.match(app.stderr, /no CPU quota, no memory limit/);
  });

  test('the quota of the group above binds, too', async (t) => {
    const group = new UnifiedGroup(t).own('cpu.max', 'max 100000').above('cpu.max', '100000 100000');
    assert.match(await staysOne(await start(t, group)), /quota 1 rounded up = 1\b/);
  });

  test('memory for one copy leaves one process', async (t) => {
    const group = new UnifiedGroup(t).own('memory.max', String(128 * MIB));
    const line = await staysOne(await start(t, group));
    assert.match(line, /memory \(128 MiB - \d+ MiB\) \/ \(1\.5 x \d+ MiB\) = 1\b/);
    assert.ok(line.includes(`memory limit ${128 * MIB} bytes (${group.path}/memory.max)`), line);
  });

  test('a worker that the kernel has killed for want of memory is named', async (t) => {
    const group = new UnifiedGroup(t).own('memory.events', 'oom 0\noom_kill 0');
    const app = await start(t, group, '2');
    const [first, second] = (await multiplied(app, 2, HOST)) as [number, number];
    process.kill(first, 'SIGKILL');
    await app.said(/worker \d ended \(code null, signal SIGKILL\)/);
    group.own('memory.events', 'oom 1\noom_kill 1');
    process.kill(second, 'SIGKILL');
    const [, file] = await app.said(
      /worker \d ended \(code null, signal SIGKILL, for want of memory: oom_kill 1 in (\S+)\)/,
    );
    assert.equal(file, `${group.path}/memory.events`);
  });
});
