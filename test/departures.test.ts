// SPDX-License-Identifier: Apache-2.0
// When a socket that nobody serves leaves a group without a steering program, step by step.
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Departures, HANDSHAKE_MS, LINGER_MS } from '../lib/group/departures';

const calls: string[] = [];
const held = new Set<number>();
let departures: Departures;

const departuresOf = (left: number[]) =>
  new Departures(
    {
      dropSyn: (index) => calls.push(`drop ${index}`),
      keepSyn: (index) => calls.push(`keep ${index}`),
      shut: (index) => calls.push(`shut ${index}`),
      held: (index) => held.has(index),
    },
    left,
  );

beforeEach(() => {
  calls.length = 0;
  held.clear();
  departures = departuresOf([]);
});

describe('the socket of a worker that has ended', () => {
  test('waits, takes no more SYNs, is shut, and takes SYNs again when it comes back', () => {
    departures.begin(1, 0);
    departures.advance(LINGER_MS - 1);
    assert.deepEqual(calls, []);
    departures.advance(LINGER_MS);
    assert.deepEqual(calls, ['drop 1']);
    departures.advance(LINGER_MS + HANDSHAKE_MS - 1);
    assert.deepEqual(calls, ['drop 1']);
    assert.deepEqual([...departures.left], []);
    departures.advance(LINGER_MS + HANDSHAKE_MS);
    assert.deepEqual(calls, ['drop 1', 'shut 1', 'keep 1']);
    assert.deepEqual([...departures.left], [1]);
    assert.equal(departures.under, false);
  });

  test('waits from the first time that it is seen unserved', () => {
    departures.begin(1, 0);
    departures.begin(1, LINGER_MS - 1);
    departures.advance(LINGER_MS);
    assert.deepEqual(calls, ['drop 1']);
  });

  test('stays when a successor serves in time', () => {
    departures.begin(1, 0);
    departures.end(1);
    departures.advance(10 * LINGER_MS);
    assert.deepEqual([calls, departures.under], [[], false]);
  });

  test('takes SYNs again when the successor serves in the last moment', () => {
    departures.begin(1, 0);
    departures.advance(LINGER_MS);
    departures.end(1);
    departures.advance(10 * LINGER_MS);
    assert.deepEqual(calls, ['drop 1', 'keep 1']);
  });

  test('is not shut under a process that may listen on it at any moment', () => {
    departures.begin(1, 0);
    departures.advance(LINGER_MS);
    held.add(1);
    departures.advance(LINGER_MS + HANDSHAKE_MS);
    departures.advance(10 * LINGER_MS);
    assert.deepEqual(calls, ['drop 1', 'keep 1']);
    assert.equal(departures.under, true, 'goes on being looked after');
    held.clear();
    departures.advance(11 * LINGER_MS - 1);
    assert.deepEqual(calls, ['drop 1', 'keep 1']);
    departures.advance(11 * LINGER_MS);
    assert.deepEqual(calls, ['drop 1', 'keep 1', 'drop 1']);
  });
});

test("the origin's own socket does not wait for anybody", () => {
  departures.begin(0, 0);
  departures.advance(0);
  departures.advance(HANDSHAKE_MS);
  assert.deepEqual(calls, ['drop 0', 'shut 0', 'keep 0']);
});

test('one that has left does not leave again, until it was back', () => {
  departures = departuresOf([1]);
  departures.begin(1, 0);
  assert.equal(departures.under, false);
  departures.end(1);
  departures.begin(1, 0);
  assert.equal(departures.under, true);
});
