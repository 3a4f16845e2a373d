// SPDX-License-Identifier: Apache-2.0
// How many workers there are: the mask, the limits of the control groups, and what was asked for.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { parseCpuList } from '../lib/config/cpulist';
import { type App, answering, census, fixture, freePort, multiplied, startApp } from './support/app';
import { LimitedGroup, needsGroups } from './support/cgroup';

const MIB = 1024 * 1024;
const cpus =
  parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '') ??
  [];
const twoCpus = { skip: cpus.length < 2 && 'needs two CPUs' };
const bothOf = (...needs: { skip: false | string }[]) => ({
  skip: needs.map(({ skip }) => skip).find(Boolean) ?? false,
});

/** The debug line that shows the arithmetic: there is exactly one, in the origin. */
function arithmetic(app: App): string {
  const lines = app.stderr.split('\n').filter((line) => line.includes(': workers '));
  assert.equal(lines.length, 1, app.stderr);
  const [line] = lines as [string];
  assert.ok(line.startsWith(`FASTSOCKET ${app.pid}: workers `), line);
  return line;
}

async function start(t: TestContext, env: Record<string, string>, prefix: string[] = []): Promise<App> {
  const port = await freePort();
  const app = startApp(fixture('http-app.js'), { port, env, prefix });
  t.after(() => app.stop());
  await answering(port);
  return app;
}

/** The workers of an app that is to have `count`, with what it says about how it got there. */
async function several(app: App, count: number): Promise<string> {
  const workers = await multiplied(app, count);
  assert.equal(workers.length, count);
  const line = arithmetic(app);
  assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);
  return line;
}

/** The same for one that stays one process; nothing is said about it unless it is asked. */
async function one(app: App): Promise<string> {
  await app.said(/one process: one worker is no gain/);
  assert.deepEqual(app.workers(), []);
  assert.deepEqual([...(await census(app.port, 5)).keys()], [app.pid]);
  assert.deepEqual(app.stderr.match(/^fastsocket: .*/gm), null);
  return arithmetic(app);
}

describe('limits of the control group', () => {
  test('a quota of 1.5 CPUs: two workers, not pinned', bothOf(needsGroups('cpu'), twoCpus), async (t) => {
    const group = new LimitedGroup(t, 'cpu').quota(1.5);
    const app = await start(t, { FASTSOCKET_WORKERS: 'auto' }, group.prefix);
    const line = await several(app, 2);
    assert.match(
      line,
      /auto: least of \d+ CPUs in the mask \([\d,-]+\), quota 1\.5 rounded up = 2\b.* = 2; not pinned: a quota of 1\.5 CPUs does not cover 2 workers/,
    );
    assert.match(line, /quota 1\.5 CPUs \(\/\S+\/inner\/cpu\.\w+\)/);
  });

  test('the limit of a parent group binds, too', needsGroups('cpu'), async (t) => {
    const group = new LimitedGroup(t, 'cpu').quotaAbove(1);
    const app = await start(t, { FASTSOCKET_WORKERS: 'auto' }, group.prefix);
    assert.match(await one(app), /quota 1 rounded up = 1\b.* = 1; pinned|quota 1 rounded up = 1\b/);
  });

  test('a quota below one CPU leaves one process', needsGroups('cpu'), async (t) => {
    const group = new LimitedGroup(t, 'cpu').quota(0.8);
    const app = await start(t, {}, [...group.prefix, 'env', '-u', 'FASTSOCKET_WORKERS']);
    assert.match(await one(app), /quota 0\.8 rounded up = 1\b/);
  });

  test('memory for one copy leaves one process', needsGroups('memory'), async (t) => {
    const group = new LimitedGroup(t, 'memory').memory(128 * MIB);
    const app = await start(t, { FASTSOCKET_WORKERS: 'auto' }, group.prefix);
    const line = await one(app);
    const [, limit, origin, again, fit] =
      /memory \((\d+) MiB - (\d+) MiB\) \/ \(1\.5 x (\d+) MiB\) = (\d+)/.exec(line) ?? [];
    assert.equal(limit, '128');
    assert.equal(origin, again);
    assert.equal(fit, '1');
    assert.ok(Number(origin) > 20 && Number(origin) < 128, line);
  });

  test('memory for many copies is no bound', bothOf(needsGroups('memory'), twoCpus), async (t) => {
    const group = new LimitedGroup(t, 'memory').memory(64 * 1024 * MIB);
    const app = await start(t, { FASTSOCKET_WORKERS: 'auto' }, group.prefix);
    const line = await several(app, Math.min(cpus.length, 64));
    assert.match(line, /memory \(\d+ MiB - /);
  });

  test('a number is taken as asked for, but not pinned above the quota', needsGroups('cpu'), async (t) => {
    const group = new LimitedGroup(t, 'cpu').quota(1);
    const app = await start(t, { FASTSOCKET_WORKERS: '3' }, group.prefix);
    const line = await several(app, 3);
    assert.match(line, /workers 3 as asked for;.* not pinned: /);
  });
});

describe('settings', () => {
  test('auto: one worker for each CPU of the mask, pinned', twoCpus, async (t) => {
    const app = await start(t, { FASTSOCKET_WORKERS: 'auto' });
    const line = await several(app, cpus.length);
    assert.match(
      line,
      new RegExp(`auto: least of ${cpus.length} CPUs in the mask .* = ${cpus.length}; pinned`),
    );
  });

  test('auto is what there is without any setting', twoCpus, async (t) => {
    const app = await start(t, { FASTSOCKET_WORKERS: '' });
    assert.match(await several(app, cpus.length), /workers auto: /);
  });

  const taskset = { skip: spawnSync('taskset', ['-V']).status !== 0 && 'there is no taskset here' };
  test('auto counts the mask, not the machine', bothOf(twoCpus, taskset), async (t) => {
    const app = await start(t, { FASTSOCKET_WORKERS: 'auto' }, ['taskset', '-c', String(cpus[0])]);
    assert.match(await one(app), new RegExp(`1 CPUs in the mask \\(${cpus[0]}\\) = 1`));
  });

  test('a percentage is of the mask', twoCpus, async (t) => {
    const whole = await start(t, { FASTSOCKET_WORKERS: '100%' });
    assert.match(
      await several(whole, cpus.length),
      new RegExp(`100 % of ${cpus.length} CPUs in the mask = ${cpus.length}`),
    );
    const few = await start(t, { FASTSOCKET_WORKERS: '1%' });
    assert.match(await one(few), new RegExp(`1 % of ${cpus.length} CPUs in the mask = 1`));
  });

  test('more workers than CPUs are not pinned', async (t) => {
    const count = cpus.length + 1;
    const app = await start(t, { FASTSOCKET_WORKERS: String(count) });
    assert.match(
      await several(app, count),
      new RegExp(`not pinned: ${count} workers on ${cpus.length} CPUs`),
    );
  });

  test('WEB_CONCURRENCY counts where FASTSOCKET_WORKERS is not set', async (t) => {
    const app = await start(t, { FASTSOCKET_WORKERS: '', WEB_CONCURRENCY: '3' });
    assert.match(await several(app, 3), /workers 3 as asked for/);
    const other = await start(t, { FASTSOCKET_WORKERS: '2', WEB_CONCURRENCY: '3' });
    assert.match(await several(other, 2), /workers 2 as asked for/);
  });

  test('a value that is no number of workers: one line, and plain Node', async (t) => {
    const app = await start(t, { FASTSOCKET_WORKERS: 'many' });
    const lines = app.stderr.match(/^fastsocket: .*/gm) ?? [];
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      /FASTSOCKET_WORKERS='many' is not allowed \(auto, a number .*\); the app runs as plain Node/,
    );
    assert.deepEqual([...(await census(app.port, 5)).keys()], [app.pid]);
    assert.equal(app.stdout, '');
  });
});
