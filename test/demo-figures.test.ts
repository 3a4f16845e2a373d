// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countsSince } from '../bench/demo/counts';
import { settled } from '../bench/demo/readiness';
import { summarize } from '../bench/demo/summary';
import type { Measure, ProcessCount, Visit } from '../bench/demo/types';
import { Latency } from '../bench/lib/latency';
import { alive, cpuSince, descendants, parseMachineCpu, parseStat, treeCpu } from '../bench/lib/proc';
import { median, ratio, verdictOf } from '../bench/lib/stats';
import { item } from '../bench/lib/wrap';

test('a percentile is within one bucket (2.2 %) of the exact one, also after adding two histograms', () => {
  const odd = new Latency();
  const even = new Latency();
  for (let us = 1; us <= 10_000; us++) (us % 2 ? odd : even).record(us);
  const both = Latency.from(odd.counts());
  both.add(even.counts());
  for (const p of [0.01, 0.5, 0.99, 1]) {
    const exact = p * 10_000;
    const shown = both.percentile(p) ?? 0;
    assert.ok(Math.abs(shown / exact - 1) < 0.022, `p${p * 100}: ${shown} for ${exact}`);
  }
});

test('a histogram has no percentile before its first value and after clear()', () => {
  const latency = new Latency();
  assert.equal(latency.percentile(0.99), undefined);
  latency.record(0);
  assert.ok((latency.percentile(0.99) ?? 99) < 1.1);
  latency.clear();
  assert.equal(latency.percentile(0.99), undefined);
  assert.deepEqual(latency.counts(), []);
});

test('median and ratio leave out rounds that one side does not have', () => {
  assert.equal(median([3, undefined, 1, 2]), 2);
  assert.equal(median([4, 1]), 2.5);
  assert.equal(median([undefined]), undefined);
  assert.deepEqual(ratio([2, undefined, 9], [1, 5, 3]), { median: 2.5, low: 2, high: 3, rounds: 2 });
  assert.equal(ratio([1], [undefined]), undefined);
  assert.equal(ratio([1], [0]), undefined);
});

test('a difference is one only if all rounds agree and it is beyond the noise', () => {
  assert.equal(verdictOf({ median: 1.2, low: 1.1, high: 1.3, rounds: 3 }), 'more');
  assert.equal(verdictOf({ median: 0.8, low: 0.7, high: 0.9, rounds: 3 }), 'less');
  assert.equal(verdictOf({ median: 1.2, low: 0.99, high: 1.3, rounds: 3 }), 'same');
  assert.equal(verdictOf({ median: 0.8, low: 0.7, high: 1.01, rounds: 3 }), 'same');
  assert.equal(verdictOf({ median: 1.03, low: 1.01, high: 1.04, rounds: 3 }), 'same');
  assert.equal(verdictOf({ median: 2, low: 2, high: 2, rounds: 1 }), 'same');
});

test('/proc/PID/stat is read behind the last parenthesis of the command', () => {
  const stat = '42 (a) b) (c) S 7 42 42 0 -1 4194304 1 2 3 4 150 25 9 9 20 0 11 0 100 1 2';
  assert.deepEqual(parseStat(stat), { pid: 42, parent: 7, cpuMs: 1750 });
  assert.equal(parseStat(''), undefined);
});

test('machine time is user, nice, system and steal', () => {
  assert.equal(
    parseMachineCpu('cpu  1 20 300 5000 60000 700000 8000000 40000 1 1\ncpu0 9 9 9\n'),
    (1 + 20 + 300 + 40_000) * 10,
  );
});

test('a tree is a process with its descendants, however deep', () => {
  const stat = (pid: number, parent: number) => ({ pid, parent, cpuMs: 0 });
  const all = [stat(5, 4), stat(1, 0), stat(4, 3), stat(2, 1), stat(3, 1)];
  assert.deepEqual(
    descendants(all, 3).map(({ pid }) => pid),
    [3, 4, 5],
  );
});

test('the CPU time of this process is seen to grow', () => {
  const before = treeCpu(process.pid);
  const until = performance.now() + 100;
  while (performance.now() < until);
  const used = cpuSince(before, treeCpu(process.pid)).get(process.pid) ?? 0;
  assert.ok(used >= 10, `${used} ms`);
  assert.ok(alive(process.pid));
  assert.ok(!alive(0x7fffffff));
});

test('a line of text is broken between words', () => {
  assert.equal(item('aa bb cc dd', 7), '- aa bb\n  cc dd');
  assert.equal(item('much-too-long a', 5), '- much-too-long\n  a');
});

const count = (pid: number, accepted: number, ...cpus: [number, number, number][]): ProcessCount => ({
  pid,
  accepted,
  cpus,
});

test('counts are differences; a process that accepted nothing is left out, one that is new counts in full', () => {
  const before = [count(1, 10, [0, 8, 4]), count(2, 5, [1, 5, 0])];
  const after = [count(1, 30, [0, 20, 10], [1, 8, 8]), count(2, 5, [1, 5, 0]), count(3, 2, [1, 2, 2])];
  assert.deepEqual(countsSince(before, after), [count(1, 20, [0, 12, 6], [1, 8, 8]), count(3, 2, [1, 2, 2])]);
});

test('a server is ready when its workers serve and the process that was started does not', () => {
  const expected = { workers: 2, rootServes: false };
  assert.ok(settled({ pids: [2, 3], root: false, unchangedMs: 0 }, expected));
  assert.ok(!settled({ pids: [1, 2], root: true, unchangedMs: 0 }, expected));
  assert.ok(!settled({ pids: [2], root: false, unchangedMs: 1_000 }, expected));
  assert.ok(settled({ pids: [2], root: false, unchangedMs: 2_000 }, expected));
  assert.ok(!settled({ pids: [1], root: true, unchangedMs: 2_000 }, expected));
  assert.ok(settled({ pids: [1], root: true, unchangedMs: 6_000 }, expected));
  assert.ok(!settled({ pids: [], root: false, unchangedMs: 9_000 }, expected));
  assert.ok(settled({ pids: [1], root: true, unchangedMs: 0 }, { workers: 1, rootServes: true }));
});

function measure(counts: ProcessCount[], perSecond = 1): Measure {
  return {
    perSecond,
    cpuUs: 1,
    p99Ms: 1,
    counts,
    clientBusy: 0,
    serverBusy: 0,
    serversBusy: 0,
    foreign: 0,
    failed: 1,
  };
}

function visitOf(round: number, short: Measure): Visit {
  const loads = { short, keepAlive: measure([]), undici: measure([]) };
  return {
    mode: 'cluster',
    round,
    loads,
    serving: 2,
    rootServes: false,
    remarks: ['fastsocket: x'],
    killed: round === 1,
  };
}

test('rounds are put in order, and their processes and cores added up', () => {
  const second = visitOf(1, measure([count(21, 100, [0, 25, 25]), count(22, 300, [1, 30, 0])], 7));
  const first = visitOf(0, measure([count(11, 200, [0, 10, 5], [1, 10, 5])], 5));
  const { loads, remarks, killed } = summarize('cluster', [second, first]);
  const { short, undici } = loads;
  assert.deepEqual(short.perSecond, [5, 7]);
  assert.equal(short.failed, 2);
  assert.deepEqual(short.perProcess, [
    { label: '#1', connections: 500, share: 500 / 600 },
    { label: '#2', connections: 100, share: 100 / 600 },
  ]);
  assert.deepEqual(short.perCore, [
    { label: 'cpu0', connections: 200, share: 200 / 600 },
    { label: 'cpu1', connections: 400, share: 400 / 600 },
  ]);
  assert.equal(short.local, 35 / 75);
  assert.equal(undici.local, undefined);
  assert.deepEqual(undici.perCore, []);
  assert.deepEqual(remarks, ['fastsocket: x']);
  assert.equal(killed, 1);
});
