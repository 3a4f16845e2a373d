// SPDX-License-Identifier: Apache-2.0
// Programs that ask whether their port is taken, where there is no addon.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { readMark, writeMark } from '../lib/fallback/mark';
import { answeredAsPlain } from './support/port-askers';
import { PackageWithoutAddon } from './support/without-addon';

const bare = new PackageWithoutAddon();
after(() => bare.remove());

test('the marker of a copy says what the app has asked', () => {
  const asked = { early: [['::1', 80, 2]], keys: ['6|::|80'] } as never;
  const mark = { core: 3, index: 2, workers: 4, pid: 5, asked };
  assert.match(writeMark(mark), /^3\/2\/4\/5\/ipc\/[\w-]+$/);
  assert.deepEqual(readMark(writeMark(mark)), { core: '3', workers: 4, asked });
  const silent = writeMark({ ...mark, core: undefined, asked: undefined });
  assert.equal(silent, 'none/2/4/5/ipc');
  assert.deepEqual(readMark(silent), { core: 'none', workers: 4, asked: undefined });
  assert.deepEqual(readMark(`${silent}/e30x`)?.asked, undefined, 'no JSON');
  for (const other of ['3/2/4/5/4', '3', 'origin']) assert.equal(readMark(other), undefined);
});

for (const [means, flags] of Object.entries(bare.means))
  describe(means, { concurrency: 2 }, () => {
    for (const [name, way] of [
      ['by a connection', 'connect'],
      ['twice', 'connect twice'],
      ['before and after it has listened there', 'connect, listen, connect'],
      ['when its copies are there already', 'late'],
    ] as const)
      test(name, (t) => answeredAsPlain(t, { way }, flags));
  });
