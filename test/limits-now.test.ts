// SPDX-License-Identifier: Apache-2.0
// The limits of an app that serves: cheap to look at, and never taken for none where they are not known. No kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLimits } from '../lib/cpu/cgroup';
import { FRESH_MS, LimitsNow } from '../lib/cpu/limits-now';

const MIB = 1024 * 1024;
const V1 = '/sys/fs/cgroup';

interface Scene {
  files: Record<string, string>;
  /** Files that cannot be read, and why. */
  fails: Record<string, string>;
  reads: string[];
  limits: LimitsNow;
  /** A look, a second after the one before. */
  look(): ReturnType<LimitsNow['now']>;
}

function scene(files: Record<string, string>): Scene {
  const fails: Record<string, string> = {};
  const reads: string[] = [];
  const read = (path: string) => {
    reads.push(path);
    const code = fails[path] ?? fails['all'] ?? (files[path] === undefined ? 'ENOENT' : undefined);
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    return files[path] as string;
  };
  const { above } = readLimits((path) => files[path]);
  const limits = new LimitsNow(above, read);
  let at = Math.ceil(performance.now());
  const look = () => {
    at += FRESH_MS;
    return limits.now(at);
  };
  return { files, fails, reads, limits, look };
}

const unified = () =>
  scene({
    '/proc/self/cgroup': '0::/pod/app\n',
    '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
    '/sys/fs/cgroup/pod/app/cpu.max': '200000 100000\n',
    '/sys/fs/cgroup/pod/app/memory.max': 'max\n',
    '/sys/fs/cgroup/pod/memory.max': `${512 * MIB}\n`,
  });

/** Of a container; the limit of its pod stands above the mount. */
const old = () =>
  scene({
    '/proc/self/cgroup': '4:memory:/pod/1\n3:cpu,cpuacct:/pod/1\n',
    '/proc/self/mountinfo': `34 31 0:33 /pod/1 ${V1}/memory rw - cgroup cgroup rw,memory\n35 31 0:34 /pod/1 ${V1}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n`,
    [`${V1}/cpu/cpu.cfs_quota_us`]: '200000\n',
    [`${V1}/cpu/cpu.cfs_period_us`]: '100000\n',
    [`${V1}/memory/memory.limit_in_bytes`]: `${900 * MIB}\n`,
    [`${V1}/memory/memory.stat`]: `cache 1\nhierarchical_memory_limit ${600 * MIB}\n`,
  });

test('they are followed', () => {
  const { files, look } = unified();
  assert.deepEqual([look()?.cpus, look()?.memoryBytes], [2, 512 * MIB]);
  files['/sys/fs/cgroup/pod/app/cpu.max'] = 'max 100000\n';
  files['/sys/fs/cgroup/pod/memory.max'] = `${900 * MIB}\n`;
  const now = look();
  assert.deepEqual([now?.cpus, now?.memoryBytes], [undefined, 900 * MIB]);
});

test('a look reads the files that name limits, and no others', () => {
  const { reads, look } = old();
  reads.length = 0;
  look();
  assert.deepEqual(reads, [
    '/proc/self/cgroup',
    `${V1}/cpu/cpu.cfs_quota_us`,
    `${V1}/cpu/cpu.cfs_period_us`,
    `${V1}/memory/memory.limit_in_bytes`,
  ]);
});

test('v1: nor at the first look, and a limit above the mount stays', () => {
  const { files, reads, look } = old();
  assert.ok(!reads.some((path) => path.endsWith('memory.stat')));
  files[`${V1}/memory/memory.limit_in_bytes`] = `${700 * MIB}\n`;
  assert.equal(look()?.memoryBytes, 600 * MIB);
  files[`${V1}/memory/memory.limit_in_bytes`] = `${500 * MIB}\n`;
  assert.equal(look()?.memoryBytes, 500 * MIB);
});

test('once a second at most', () => {
  const { reads, limits } = unified();
  const at = Math.ceil(performance.now()) + FRESH_MS;
  limits.now(at);
  reads.length = 0;
  limits.now(at + FRESH_MS - 1);
  assert.deepEqual(reads, []);
  limits.now(at + FRESH_MS);
  assert.notEqual(reads.length, 0);
});

test('another control group is found', () => {
  const { files, look } = unified();
  files['/proc/self/cgroup'] = '0::/other\n';
  files['/sys/fs/cgroup/other/cpu.max'] = '300000 100000\n';
  const now = look();
  assert.deepEqual([now?.cpus, now?.memoryBytes], [3, undefined]);
});

for (const [what, change] of [
  ['no descriptors', ({ fails }) => Object.assign(fails, { all: 'EMFILE' })],
  ['no permission', ({ fails }) => Object.assign(fails, { all: 'EACCES' })],
  ['--permission', ({ fails }) => Object.assign(fails, { all: 'ERR_ACCESS_DENIED' })],
  ['another root', ({ fails }) => Object.assign(fails, { all: 'ENOENT' })],
  [
    'another root, with /proc',
    ({ files }) => {
      for (const path of Object.keys(files)) if (path.startsWith('/sys')) delete files[path];
    },
  ],
  [
    'another root and group, with /proc',
    ({ files }) => {
      for (const path of Object.keys(files)) if (path.startsWith('/sys')) delete files[path];
      files['/proc/self/cgroup'] = '0::/other\n';
      files['/proc/self/mountinfo'] = '';
    },
  ],
  ['one limit that was there', ({ files }) => delete files['/sys/fs/cgroup/pod/memory.max']],
  [
    'a file that was not there, and may not be read',
    ({ fails }) => Object.assign(fails, { '/sys/fs/cgroup/pod/cpu.max': 'EACCES' }),
  ],
  [
    'one limit that may not be read',
    ({ fails }) => Object.assign(fails, { '/sys/fs/cgroup/pod/memory.max': 'EIO' }),
  ],
] as [string, (scene: Scene) => unknown][])
  test(`not known is not none: ${what}`, () => {
    const here = unified();
    change(here);
    assert.equal(here.look(), undefined);
  });

test('known again', () => {
  const { fails, look } = unified();
  Object.assign(fails, { all: 'EMFILE' });
  assert.equal(look(), undefined);
  delete fails['all'];
  assert.equal(look()?.cpus, 2);
});

test('where nothing was there from the first there is no limit', () => {
  const { look } = scene({ '/proc/self/cgroup': '0::/\n', '/proc/self/mountinfo': '' });
  assert.deepEqual(look(), { detail: 'no CPU quota, no memory limit' });
});

test('an app that replaces readFileSync', { skip: process.platform !== 'linux' }, (t) => {
  const fs = require('node:fs') as typeof import('node:fs');
  const limits = new LimitsNow();
  t.mock.method(fs, 'readFileSync', () => '');
  assert.deepEqual(limits.now(performance.now() + FRESH_MS), new LimitsNow().now());
  assert.notEqual(limits.now(), undefined);
  assert.equal((fs.readFileSync as unknown as { mock: { callCount(): number } }).mock.callCount(), 0);
});
