// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCpuList, parseCpuList } from '../lib/config/cpulist';
import { coreOrder } from '../lib/cpu/order';
import { readText } from '../lib/cpu/read';
import { readTopology } from '../lib/cpu/topology';

type Files = Record<string, string>;
const reader = (files: Files) => (path: string) => files[path];
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** A machine: for each node its cores, for each core its hardware threads. */
function machine(nodes: number[][][]): Files {
  const files: Files = { '/sys/devices/system/node/online': `${formatCpuList(nodes.map((_, i) => i))}\n` };
  nodes.forEach((cores, node) => {
    files[`/sys/devices/system/node/node${node}/cpulist`] = `${formatCpuList(cores.flat())}\n`;
    cores.forEach((threads, core) => {
      for (const cpu of threads) {
        const directory = `/sys/devices/system/cpu/cpu${cpu}/topology`;
        files[`${directory}/thread_siblings_list`] = `${formatCpuList(threads)}\n`;
        files[`${directory}/core_id`] = `${core}\n`;
        files[`${directory}/physical_package_id`] = `${node}\n`;
      }
    });
  });
  return files;
}

function order(files: Files, mask: number[]): string {
  return coreOrder(readTopology(reader(files), mask), mask).join(' ');
}

// Two nodes of two cores, as most x86 servers number them: all cores first, the siblings behind.
const SPLIT = machine([
  [
    [0, 4],
    [1, 5],
  ],
  [
    [2, 6],
    [3, 7],
  ],
]);
// The same with neighbours as siblings, as many virtual machines number them.
const PAIRED = machine([
  [
    [0, 1],
    [2, 3],
  ],
  [
    [4, 5],
    [6, 7],
  ],
]);

test('physical cores first, node by node, then the siblings in the same order', () => {
  assert.equal(order(SPLIT, range(8)), '0 1 2 3 4 5 6 7');
  assert.equal(order(PAIRED, range(8)), '0 2 4 6 1 3 5 7');
  // Nodes that alternate.
  const alternating = machine([
    [
      [0, 4],
      [2, 6],
    ],
    [
      [1, 5],
      [3, 7],
    ],
  ]);
  assert.equal(order(alternating, range(8)), '0 2 1 3 4 6 5 7');
  // Four threads a core.
  assert.equal(
    order(
      machine([
        [
          [0, 1, 2, 3],
          [4, 5, 6, 7],
        ],
      ]),
      range(8),
    ),
    '0 4 1 5 2 6 3 7',
  );
});

test('only CPUs of the mask, and "first thread" is the first one in the mask', () => {
  assert.equal(order(SPLIT, [2, 3, 6, 7]), '2 3 6 7');
  assert.equal(
    order(SPLIT, [4, 5, 1]),
    '1 4 5',
    'CPU 4 stands for a core of its own here, 5 is the sibling of 1',
  );
  assert.equal(order(PAIRED, [1, 3, 0]), '0 3 1');
  assert.equal(order(SPLIT, []), '');
  assert.equal(order(SPLIT, [3, 1, 3, 1]), '1 3');
});

test('without siblings lists: package and core number; equal core numbers in two packages are two cores', () => {
  const files = Object.fromEntries(
    Object.entries(PAIRED).filter(([path]) => !path.endsWith('thread_siblings_list')),
  );
  assert.equal(order(files, range(8)), '0 2 4 6 1 3 5 7');
});

test('without NUMA files every CPU is in node 0', () => {
  const files = Object.fromEntries(Object.entries(PAIRED).filter(([path]) => !path.includes('/node/')));
  assert.equal(order(files, range(8)), '0 2 4 6 1 3 5 7');
});

test('a memory-only node and a gap in the node numbers', () => {
  const files: Files = {
    ...SPLIT,
    '/sys/devices/system/node/online': '0,2,5\n',
    '/sys/devices/system/node/node2/cpulist': '\n',
  };
  files['/sys/devices/system/node/node5/cpulist'] = '0-1\n';
  files['/sys/devices/system/node/node0/cpulist'] = '2-3\n';
  assert.equal(order(files, [0, 1, 2, 3]), '2 3 0 1');
});

test('numeric order where the topology is missing, useless, or missing for one CPU', () => {
  assert.equal(order({}, [3, 0, 2]), '0 2 3');
  const minusOne = Object.fromEntries(
    range(4).map((cpu) => [`/sys/devices/system/cpu/cpu${cpu}/topology/core_id`, '-1\n']),
  );
  assert.equal(order(minusOne, range(4)), '0 1 2 3');
  for (const cpu of range(4))
    minusOne[`/sys/devices/system/cpu/cpu${cpu}/topology/physical_package_id`] = `${cpu >> 1}\n`;
  assert.equal(order(minusOne, range(4)), '0 1 2 3', 'a core number that says nothing, in two packages');
  const hole = { ...PAIRED };
  for (const path of Object.keys(hole)) if (path.includes('/cpu7/')) delete hole[path];
  assert.equal(order(hole, range(8)), '0 1 2 3 4 5 6 7');
  const garbage = {
    ...PAIRED,
    '/sys/devices/system/cpu/cpu0/topology/thread_siblings_list': '??',
    '/sys/devices/system/cpu/cpu0/topology/core_id': 'x',
  };
  assert.equal(order(garbage, range(8)), '0 1 2 3 4 5 6 7');
});

test('this machine: every online CPU once', { skip: process.platform !== 'linux' && 'no /sys' }, () => {
  const online = parseCpuList(readText('/sys/devices/system/cpu/online') ?? '0') ?? [0];
  const ordered = coreOrder(readTopology(readText, online), online);
  assert.deepEqual(
    [...ordered].sort((a, b) => a - b),
    online,
  );
});
