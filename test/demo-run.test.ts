// SPDX-License-Identifier: Apache-2.0
// The demo as a whole, in its quick form.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { alive, treeCpu } from '../bench/lib/proc';
import { snapshotEnvironment } from '../lib/config/environment';
import { temporaryFolder } from './support/temporary';

const DEMO = join(__dirname, '../bench/demo/index.js');
const linux = { skip: process.platform === 'linux' ? false : 'needs /proc', timeout: 90_000 };

interface Demo {
  child: ChildProcess;
  /** Where it makes its temporary files. */
  folder: string;
  stdout: string;
  stderr: string;
}

function startDemo(t: TestContext): Demo {
  const folder = temporaryFolder('demo');
  const env: Record<string, string> = { ...snapshotEnvironment(), TMPDIR: folder };
  // the hook leaves tests alone, and what they start
  delete env['NODE_TEST_CONTEXT'];
  const child = spawn(process.execPath, [DEMO, '--quick'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const demo: Demo = { child, folder, stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => (demo[name] += text));
  t.after(() => child.kill('SIGKILL'));
  return demo;
}

async function eventually(what: string, holds: () => boolean, ms = 20_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `not within ${ms} ms: ${what}`);
    await sleep(20);
  }
}

/** All processes of the demo once a server, its workers and the client are there. */
async function underWay({ child, stderr }: Demo): Promise<number[]> {
  const { pid } = child;
  assert.ok(pid !== undefined, stderr);
  await eventually('demo, client and a server', () => treeCpu(pid).size >= 3);
  return [...treeCpu(pid).keys()];
}

test(
  'it measures all modes, prints one table and words about it, and leaves nothing behind',
  linux,
  async (t) => {
    const demo = startDemo(t);
    const pids = await underWay(demo);
    const [code] = await once(demo.child, 'close');
    assert.equal(code, 0, demo.stderr);
    assert.match(demo.stderr, /\[1\/\d\] .*\n.*\[2\/\d\] /s, 'progress');
    assert.match(demo.stdout, /plain Node +cluster +fastsocket/);
    for (const row of [
      'connections per second',
      'CPU per connection',
      'p99',
      'connections per core',
      'local connections',
    ]) {
      assert.match(demo.stdout, new RegExp(`  ${row} +\\S`));
    }
    assert.match(demo.stdout, /What this means on/);
    assert.doesNotMatch(demo.stdout, /NaN|undefined|failed|NOT active/);
    assert.deepEqual(pids.filter(alive), []);
    assert.deepEqual(readdirSync(demo.folder), []);
  },
);

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} ends it with all its processes and files`, linux, async (t) => {
    const demo = startDemo(t);
    const pids = await underWay(demo);
    demo.child.kill(signal);
    const [code] = await once(demo.child, 'close');
    assert.equal(code, status, demo.stderr);
    await eventually('all processes have gone', () => !pids.some(alive), 2_000);
    assert.deepEqual(readdirSync(demo.folder), []);
  });
}

test('its processes end even if it is killed', linux, async (t) => {
  const demo = startDemo(t);
  const pids = await underWay(demo);
  demo.child.kill('SIGKILL');
  await eventually('all processes have gone', () => !pids.some(alive), 3_000);
});
