// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCpuList, parseCpuList } from '../lib/config/cpulist';

test('lists as the kernel prints them are read', () => {
  assert.deepEqual(parseCpuList('0-3,8'), [0, 1, 2, 3, 8]);
  assert.deepEqual(parseCpuList('0\n'), [0]);
  assert.deepEqual(parseCpuList('0-31,64-95\n')?.length, 64);
  assert.deepEqual(parseCpuList(' 2 , 1 '), [1, 2], 'spaces, any order');
  assert.deepEqual(parseCpuList('3,1-3,2'), [1, 2, 3], 'no repetition');
  assert.deepEqual(parseCpuList('8191'), [8191]);
});

test('what is not a list of at least one CPU is refused', () => {
  for (const text of [
    '',
    ' ',
    ',',
    '1,',
    ',1',
    '3-1',
    '-1',
    '1-',
    '1--2',
    'a',
    '0x3',
    '1.5',
    '0-31:2/8',
    '1 2',
    '8192',
    '0-99999',
    '99999999999',
  ]) {
    assert.equal(parseCpuList(text), undefined, JSON.stringify(text));
  }
});

test('format is the shortest list and parse undoes it', () => {
  assert.equal(formatCpuList([]), '');
  assert.equal(formatCpuList([0]), '0');
  assert.equal(formatCpuList([0, 1]), '0-1');
  assert.equal(formatCpuList([8, 3, 1, 2, 0, 8]), '0-3,8');
  for (const list of ['0', '0-127', '0,2,4,6', '0-3,8,10-11'])
    assert.equal(formatCpuList(parseCpuList(list) ?? []), list);
});
