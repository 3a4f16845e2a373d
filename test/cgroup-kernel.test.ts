// SPDX-License-Identifier: Apache-2.0
// The same reader on groups that the kernel really made. Needs root and the v1 cpu and memory
// hierarchies, or a v2 tree with these controllers; skipped with a reason otherwise.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readLimits } from '../lib/cpu/cgroup';
import { parseGroupMounts } from '../lib/cpu/cgroup-paths';
import { readText } from '../lib/cpu/read';

const NAME = `fastsocket-test-${process.pid}`;

/** What the process of that id would find if it asked about itself. */
function limitsOf(pid: number | undefined) {
  return readLimits((path) => readText(path.replace('/proc/self/', `/proc/${pid}/`)));
}

async function idler(): Promise<ChildProcess> {
  const child = spawn('sleep', ['30'], { stdio: 'ignore' });
  await once(child, 'spawn');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function writableRoot(unified: boolean, controller: string): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const mounts = parseGroupMounts(readText('/proc/self/mountinfo') ?? '');
  const fits = mounts.filter(
    (mount) =>
      mount.unified === unified && mount.root === '/' && (unified || mount.controllers.includes(controller)),
  );
  const active = fits.filter(
    ({ mountPoint }) =>
      !unified || (readText(`${mountPoint}/cgroup.subtree_control`) ?? '').split(/\s+/).includes(controller),
  );
  return active.find(({ mountPoint }) => existsSync(`${mountPoint}/cgroup.procs`))?.mountPoint;
}

/** Limits of a process in outer/inner below `root`, after `setUp` of outer; the groups are gone afterwards. */
async function inGroup(root: string, setUp: (outer: string) => void) {
  const outer = `${root}/${NAME}`;
  const inner = `${outer}/inner`;
  mkdirSync(outer);
  try {
    mkdirSync(inner);
    setUp(outer);
    const child = await idler();
    try {
      writeFileSync(`${inner}/cgroup.procs`, String(child.pid));
      return limitsOf(child.pid);
    } finally {
      await end(child);
      // A group can be removed once the kernel has let go of its last task.
      for (let i = 0; i < 200 && readFileSync(`${inner}/cgroup.procs`, 'utf8') !== ''; i++) await delay(5);
    }
  } finally {
    for (const directory of [inner, outer]) if (existsSync(directory)) rmdirSync(directory);
  }
}

const V1_CPU = writableRoot(false, 'cpu');
const V1_MEMORY = writableRoot(false, 'memory');
const V2 = writableRoot(true, 'cpu');

test('v1: a quota on the parent binds the child', {
  skip: !V1_CPU && 'needs root and a v1 cpu hierarchy',
}, async () => {
  const root = V1_CPU as string;
  const found = await inGroup(root, (outer) => {
    writeFileSync(`${outer}/cpu.cfs_period_us`, '50000');
    writeFileSync(`${outer}/cpu.cfs_quota_us`, '75000');
  });
  assert.equal(found.cpus, 1.5);
  assert.ok(found.detail.includes(`${root}/${NAME}/cpu.cfs_quota_us`), found.detail);
});

test('v1: a memory limit on the parent binds the child', {
  skip: !V1_MEMORY && 'needs root and a v1 memory hierarchy',
}, async () => {
  const before = limitsOf(process.pid).memoryBytes ?? Infinity;
  const found = await inGroup(V1_MEMORY as string, (outer) =>
    writeFileSync(`${outer}/memory.limit_in_bytes`, String(64 * 1024 * 1024)),
  );
  assert.equal(found.memoryBytes, Math.min(before, 64 * 1024 * 1024));
});

test('v2: a quota on the parent binds the child', {
  skip: !V2 && 'needs root and a v2 tree with the cpu controller',
}, async () => {
  const found = await inGroup(V2 as string, (outer) => writeFileSync(`${outer}/cpu.max`, '150000 100000'));
  assert.equal(found.cpus, 1.5);
});

test('this process: whatever it finds are positive numbers', {
  skip: process.platform !== 'linux' && 'no cgroups',
}, () => {
  const { cpus = 1, memoryBytes = 1, detail } = readLimits(readText);
  assert.ok(cpus > 0 && memoryBytes > 0, detail);
});
