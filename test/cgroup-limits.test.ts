// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Limits, readLimits } from '../lib/cpu/cgroup';

type Files = Record<string, string>;

const V2_MOUNT =
  '30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate';
const V1_CPU = '33 24 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct';
const V1_MEMORY = '34 24 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:11 - cgroup cgroup rw,memory';
const OTHERS = [
  '22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw',
  '24 23 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755',
];
const UNLIMITED_V1 = '9223372036854771712\n';

function limits(groups: string, mounts: string[], files: Files): Limits {
  const all: Files = {
    '/proc/self/cgroup': groups,
    '/proc/self/mountinfo': `${[...OTHERS, ...mounts].join('\n')}\n`,
    ...files,
  };
  return readLimits((path) => all[path]);
}

const V1_GROUPS =
  '11:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n2:freezer:/\n1:name=systemd:/docker/abc\n';

test('v2: quota and limit of the own group', () => {
  const found = limits('0::/app\n', [V2_MOUNT], {
    '/sys/fs/cgroup/app/cpu.max': '150000 100000\n',
    '/sys/fs/cgroup/app/memory.max': '536870912\n',
  });
  assert.equal(found.cpus, 1.5);
  assert.equal(found.memoryBytes, 512 * 1024 * 1024);
  assert.match(
    found.detail,
    /quota 1.5 CPUs \(\/sys\/fs\/cgroup\/app\/cpu.max\), memory limit 536870912 bytes/,
  );
});

test('v2: the smallest on the path from the own group to the root of the mount', () => {
  const files = {
    '/sys/fs/cgroup/a/b/c/cpu.max': 'max 100000\n',
    '/sys/fs/cgroup/a/b/cpu.max': '400000 100000\n',
    '/sys/fs/cgroup/a/cpu.max': '100000 50000\n',
    '/sys/fs/cgroup/a/b/c/memory.max': '3000\n',
    '/sys/fs/cgroup/a/b/memory.max': '2000\n',
    '/sys/fs/cgroup/a/memory.max': 'max\n',
    '/sys/fs/cgroup/x/cpu.max': '1000 100000\n',
    '/sys/fs/cgroup/a/b/c/d/cpu.max': '1000 100000\n',
  };
  const found = limits('0::/a/b/c\n', [V2_MOUNT], files);
  assert.equal(found.cpus, 2, 'a sibling and a child do not count');
  assert.equal(found.memoryBytes, 2000);
});

test('v2 in a container with its own cgroup namespace: the group is /', () => {
  const files = { '/sys/fs/cgroup/cpu.max': '200000 100000', '/sys/fs/cgroup/memory.max': '1073741824' };
  const found = limits('0::/\n', [V2_MOUNT], files);
  assert.equal(found.cpus, 2);
  assert.equal(found.memoryBytes, 1024 ** 3);
});

test('v2: max, and memory.high is no bound', () => {
  const files = {
    '/sys/fs/cgroup/cpu.max': 'max 100000',
    '/sys/fs/cgroup/memory.max': 'max',
    '/sys/fs/cgroup/memory.high': '1000',
  };
  const found = limits('0::/\n', [V2_MOUNT], files);
  assert.deepEqual(found, { detail: 'no CPU quota, no memory limit' });
});

test('v2: a period left out is 100 ms', () => {
  assert.equal(limits('0::/\n', [V2_MOUNT], { '/sys/fs/cgroup/cpu.max': '50000\n' }).cpus, 0.5);
});

test('v1: quota over period, memory limit; container that sees the path of the host (Docker without a cgroup namespace)', () => {
  const mounts = [
    '33 24 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:10 - cgroup cgroup rw,cpu,cpuacct',
    '34 24 0:31 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:11 - cgroup cgroup rw,memory',
  ];
  const found = limits(V1_GROUPS, mounts, {
    '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '250000\n',
    '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes': '268435456\n',
    // A directory of that name below the mount is another group's.
    '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us': '1000\n',
    '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us': '100000\n',
  });
  assert.equal(found.cpus, 2.5);
  assert.equal(found.memoryBytes, 256 * 1024 * 1024);
});

test("v1: a group below the mount's root", () => {
  const mounts = ['33 24 0:30 /docker/abc /cg ro - cgroup cgroup rw,cpu,cpuacct'];
  const files = {
    '/cg/inner/cpu.cfs_quota_us': '300000',
    '/cg/inner/cpu.cfs_period_us': '100000',
    '/cg/cpu.cfs_quota_us': '-1',
    '/cg/ef/cpu.cfs_quota_us': '1000',
    '/cg/ef/cpu.cfs_period_us': '1000',
  };
  assert.equal(limits('4:cpu,cpuacct:/docker/abc/inner\n', mounts, files).cpus, 3);
  assert.equal(
    limits('4:cpu,cpuacct:/docker/abcdef\n', mounts, files).cpus,
    undefined,
    'a name that only begins alike',
  );
});

test('v1: -1, 0 and huge values mean none', () => {
  const base = '/sys/fs/cgroup/cpu,cpuacct/docker/abc';
  const memory = '/sys/fs/cgroup/memory/docker/abc';
  const found = limits(V1_GROUPS, [V1_CPU, V1_MEMORY], {
    [`${base}/cpu.cfs_quota_us`]: '-1\n',
    [`${base}/cpu.cfs_period_us`]: '100000\n',
    [`${memory}/memory.limit_in_bytes`]: UNLIMITED_V1,
    [`${memory}/memory.stat`]: `cache 0\nhierarchical_memory_limit ${UNLIMITED_V1}total_cache 0\n`,
  });
  assert.deepEqual(found, { detail: 'no CPU quota, no memory limit' });
  const noPeriod = { [`${base}/cpu.cfs_quota_us`]: '100000', [`${base}/cpu.cfs_period_us`]: '0' };
  assert.equal(limits(V1_GROUPS, [V1_CPU], noPeriod).cpus, undefined);
  // Pages of 64 KiB: 0x7fffffffffff0000.
  assert.equal(
    limits(V1_GROUPS, [V1_MEMORY], { [`${memory}/memory.limit_in_bytes`]: '9223372036854710272' })
      .memoryBytes,
    undefined,
  );
});

test('v1: parents bind too, and memory.stat tells of those above the mount', () => {
  const found = limits(V1_GROUPS, [V1_CPU, V1_MEMORY], {
    '/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us': '50000',
    '/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us': '100000',
    '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us': '400000',
    '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us': '100000',
    '/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes': '5000',
    '/sys/fs/cgroup/memory/docker/abc/memory.stat':
      'rss 1\nhierarchical_memory_limit 4000\nhierarchical_memsw_limit 100\n',
  });
  assert.equal(found.cpus, 0.5);
  assert.equal(found.memoryBytes, 4000);
});

test('hybrid: controllers in v1, an empty v2 tree beside it', () => {
  const mounts = [V1_CPU, V1_MEMORY, '41 24 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw'];
  const found = limits(`${V1_GROUPS}0::/docker/abc\n`, mounts, {
    '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us': '200000',
    '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us': '100000',
    '/sys/fs/cgroup/unified/docker/abc/cgroup.procs': '1\n',
  });
  assert.equal(found.cpus, 2);
});

test('hybrid: one controller in v1, the other in v2', () => {
  const mounts = [V1_MEMORY, '41 24 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw'];
  const found = limits('9:memory:/m\n0::/u\n', mounts, {
    '/sys/fs/cgroup/memory/m/memory.limit_in_bytes': '7000',
    '/sys/fs/cgroup/unified/u/cpu.max': '100000 100000',
  });
  assert.equal(found.cpus, 1);
  assert.equal(found.memoryBytes, 7000);
});

test('only the hierarchy that holds the controller counts: cpuset and cpuacct are not cpu', () => {
  const mounts = [
    '33 24 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset',
    '34 24 0:31 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct',
  ];
  const files: Files = {};
  for (const name of ['cpuset', 'cpuacct']) {
    files[`/sys/fs/cgroup/${name}/cpu.cfs_quota_us`] = '1000';
    files[`/sys/fs/cgroup/${name}/cpu.cfs_period_us`] = '100000';
  }
  assert.equal(limits('3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n', mounts, files).cpus, undefined);
});

test('cgroup namespace without a new mount: root /.. , group / or /../sibling', () => {
  const mount = '30 23 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
  const files = {
    '/sys/fs/cgroup/sibling/cpu.max': '300000 100000',
    '/sys/fs/cgroup/cpu.max': '800000 100000',
  };
  assert.equal(limits('0::/../sibling\n', [mount], files).cpus, 3);
  assert.equal(
    limits('0::/\n', [mount], files).cpus,
    8,
    'which directory is ours cannot be told: the root of the mount',
  );
  // A group outside of the namespace whose mount begins at the namespace's root.
  assert.equal(limits('0::/../sibling\n', [V2_MOUNT], files).cpus, 8);
  assert.equal(
    limits('0::/..odd\n', [V2_MOUNT], { '/sys/fs/cgroup/..odd/cpu.max': '100000 100000' }).cpus,
    1,
    'a name, not the parent',
  );
});

test('a path of the host that is not mounted here: the root of the mount', () => {
  const mount = '30 23 0:26 /kubepods/pod1/c1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw';
  assert.equal(limits('0::/elsewhere\n', [mount], { '/sys/fs/cgroup/cpu.max': '400000 100000' }).cpus, 4);
});

test('two mounts of the hierarchy: the smallest of both', () => {
  const narrow = '50 23 0:26 /a/b /mnt/own rw - cgroup2 cgroup2 rw';
  const files = { '/mnt/own/cpu.max': '300000 100000', '/sys/fs/cgroup/a/cpu.max': '200000 100000' };
  assert.equal(limits('0::/a/b\n', [narrow, V2_MOUNT], files).cpus, 2);
  assert.equal(limits('0::/a/b\n', [narrow], files).cpus, 3);
});

test('odd names: colons and spaces in paths, escapes in mountinfo, a removed group', () => {
  const mount = '30 23 0:26 / /mnt/c\\040group\\134x rw shared:1 master:2 propagate_from:3 - cgroup2 none rw';
  const files = {
    '/mnt/c group\\x/a:b c/cpu.max': '100000 100000',
    '/mnt/c group\\x/cpu.max': '300000 100000',
  };
  assert.equal(limits('0::/a:b c\n', [mount], files).cpus, 1);
  assert.equal(limits('0::/a:b c (deleted)\n', [mount], files).cpus, 1);
  assert.equal(
    limits('0::/a:/b\n', [mount], {
      '/mnt/c group\\x/a:/b/cpu.max': '200000 100000',
      '/mnt/c group\\x/b/cpu.max': '100000 100000',
    }).cpus,
    2,
  );
  assert.equal(limits('0::/gone (deleted)\n', [mount], files).cpus, 3, 'its parent still counts');
});

test('a mount point with a hyphen and a file system type that only resembles', () => {
  const mounts = [
    '30 23 0:26 / /sys/fs/cgroup rw - cgroup2fs cgroup2 rw',
    '31 23 0:27 / - rw - cgroup2 cgroup2 rw',
  ];
  assert.equal(
    limits('0::/x\n', mounts, { '/sys/fs/cgroup/x/cpu.max': '100000 100000', '-/x/cpu.max': '200000 100000' })
      .cpus,
    2,
  );
});

test('nothing readable, or garbage, is no limit', () => {
  assert.deepEqual(
    readLimits(() => undefined),
    { detail: 'no CPU quota, no memory limit' },
  );
  assert.deepEqual(
    readLimits(() => ''),
    { detail: 'no CPU quota, no memory limit' },
  );
  for (const junk of ['x y z', '- - -', '0::', '0::/\n::\n9:memory', '1 2 3 4 5 6 - cgroup2', '\0']) {
    assert.deepEqual(
      readLimits(() => junk),
      { detail: 'no CPU quota, no memory limit' },
      junk,
    );
  }
  const files = { '/sys/fs/cgroup/cpu.max': 'lots', '/sys/fs/cgroup/memory.max': '-5' };
  assert.deepEqual(limits('0::/\n', [V2_MOUNT], files), { detail: 'no CPU quota, no memory limit' });
  assert.equal(limits('0::/\n', [V2_MOUNT], { '/sys/fs/cgroup/cpu.max': '0 100000' }).cpus, undefined);
});
