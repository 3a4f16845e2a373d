// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { insideTree, takenCores } from '../lib/cpu/neighbours';

/** pid -> [parent, environment]; parents' children follow from it. */
function system(processes: Record<number, [parent: number, environment: string[]]>) {
  return (path: string): string | undefined => {
    const [, pid = '', file = ''] = /^\/proc\/(\d+)\/(.*)$/.exec(path) ?? [];
    const entry = processes[Number(pid)];
    if (!entry) return undefined;
    if (file === 'environ') return entry[1].map((word) => `${word}\0`).join('');
    if (file === 'status') return `Name:\tx\nPPid:\t${entry[0]}\n`;
    const children = Object.keys(processes).filter((child) => processes[Number(child)]?.[0] === Number(pid));
    return children.join(' ');
  };
}

test('a program started with an empty environment is known by its ancestors', () => {
  const read = system({
    10: [1, ['A=1']],
    11: [10, ['FASTSOCKET_CORE=0/1/2/10/4']],
    12: [10, ['FASTSOCKET_CORE=1/2/2/10/ipc']],
    13: [11, []],
    14: [10, []],
    15: [14, []],
  });
  assert.equal(insideTree(13, read), true, 'child of a worker');
  assert.equal(insideTree(14, read), true, 'child of the origin');
  assert.equal(insideTree(15, read), true, 'grandchild of the origin');
  assert.equal(insideTree(10, read), false, 'the origin itself');
});

test('the origin may be process 1 of a container', () => {
  const read = system({
    1: [0, []],
    11: [1, ['FASTSOCKET_CORE=0/1/2/1/4']],
    14: [1, []],
  });
  assert.equal(insideTree(14, read), true);
  assert.equal(insideTree(1, read), false);
});

test('two apps under one parent are two trees', () => {
  const read = system({
    5: [1, []],
    10: [5, []],
    11: [10, ['FASTSOCKET_CORE=0/1/2/10/4']],
    20: [5, []],
  });
  assert.equal(insideTree(20, read), false);
});

test('workers that have lost their origin do not make their new parent one', () => {
  for (const reaper of [1, 5]) {
    const read = system({
      [reaper]: [0, []],
      11: [reaper, ['FASTSOCKET_CORE=0/1/2/10/4']],
      20: [reaper, []],
    });
    assert.equal(insideTree(20, read), false, `adopted by ${reaper}`);
  }
});

test('cores of other apps', () => {
  const read = system({
    11: [10, ['X=1', 'FASTSOCKET_CORE=3/1/2/10/4']],
    12: [10, ['FASTSOCKET_CORE=none/2/2/10/4']],
    13: [11, ['FASTSOCKET_CORE=3']],
    14: [1, ['FASTSOCKET_CORE=5']],
  });
  assert.deepEqual([...takenCores([11, 12, 13, 14, 99], read)], [3]);
});
