// SPDX-License-Identifier: Apache-2.0
// How many more copies the memory limit has room for, by what there is already. No kernel, no processes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKills } from '../lib/cpu/memory-kills';
import { copiesThatFit, type MemoryUse, memoryUse } from '../lib/cpu/memory-use';
import { Fit, FULL_MS, KILLED_MS } from '../lib/origin/fit';

const MIB = 1024 * 1024;

function use(origin: number, ...workers: number[]): MemoryUse {
  return { originBytes: origin * MIB, workersBytes: workers.map((mib) => mib * MIB) };
}

const fits = (limit: number, size: number, used: MemoryUse) => copiesThatFit(limit * MIB, size * MIB, used);

test('while nothing has grown: as at the start', () => {
  assert.equal(fits(700, 100, use(100)), 4);
  assert.equal(fits(700, 100, use(100, 100, 100)), 2);
});

test('copies that have come to weigh more: fewer, or none', () => {
  assert.equal(fits(1_000, 100, use(100, 400, 400)), 0);
  assert.equal(fits(1_400, 100, use(100, 400, 400)), 1);
  assert.equal(fits(700, 100, use(600)), 0, 'the origin itself');
  assert.equal(fits(500, 100, use(100, 400, 400)), 0, 'never less than none');
});

test('those that are new will weigh as much as the others', () => {
  assert.equal(fits(4_000, 100, use(200, 1_000, 1_000, 200)), 0);
});

const status = (mib: number) => `Name:\tnode\nVmSize:\t 9 kB\nVmRSS:\t  ${mib * 1024} kB\nThreads:\t7\n`;

test('what the processes have started counts', () => {
  const files: Record<string, string> = {
    '/proc/1/status': status(100),
    '/proc/1/task/1/children': '2 3 4 ',
    '/proc/2/status': status(110),
    '/proc/2/task/2/children': '5 ',
    '/proc/5/status': status(50),
    '/proc/3/status': status(120),
    '/proc/4/status': status(7),
  };
  assert.deepEqual(
    memoryUse(1, [2, 3], (path) => files[path]),
    use(107, 160, 120),
  );
  assert.equal(
    memoryUse(1, [2], () => undefined),
    undefined,
  );
});

test('what is really here', { skip: process.platform !== 'linux' }, () => {
  const { readFileSync } = require('node:fs') as typeof import('node:fs');
  const used = memoryUse(process.pid, [], (path) => readFileSync(path, 'utf8'));
  assert.ok(used && used.originBytes > 10 * MIB, JSON.stringify(used));
});

test('without a limit there is room; where nothing can be told of the processes there is none', () => {
  const fitting = (used: MemoryUse | undefined) =>
    new Fit({ kills: { more: () => false }, use: () => used, sizeBytes: () => 100 * MIB });
  assert.equal(fitting(undefined).more(undefined, 0), Number.POSITIVE_INFINITY);
  assert.equal(fitting(undefined).more(700 * MIB, 0), 0);
  assert.equal(fitting(use(100)).more(700 * MIB, 0), 4);
});

test('where there is no room it is not looked for at each look', () => {
  let looks = 0;
  let used = use(100, 600);
  const look = () => {
    looks++;
    return used;
  };
  const fit = new Fit({ kills: { more: () => false }, use: look, sizeBytes: () => 100 * MIB });
  assert.equal(fit.more(700 * MIB, 0), 0);
  used = use(100);
  assert.equal(fit.more(700 * MIB, FULL_MS - 1), 0);
  assert.equal(looks, 1);
  assert.equal(fit.more(700 * MIB, FULL_MS), 4);
});

test('after a process was killed for want of memory there are no more for long', () => {
  const events = '/sys/fs/cgroup/memory.events';
  const files: Record<string, string> = {
    '/proc/self/cgroup': '0::/\n',
    '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
    [events]: 'oom_kill 3\n',
  };
  const kills = new MemoryKills((path) => files[path]);
  const fit = new Fit({ kills, use: () => use(100), sizeBytes: () => 100 * MIB });
  assert.equal(fit.more(700 * MIB, 0), 4, 'those of before');
  files[events] = 'oom_kill 4\n';
  kills.cause('SIGKILL');
  assert.equal(fit.more(700 * MIB, 1), 0);
  assert.equal(fit.more(700 * MIB, KILLED_MS), 0);
  assert.equal(fit.more(undefined, KILLED_MS), 0);
  assert.equal(fit.more(700 * MIB, KILLED_MS + 1), 4);
});
