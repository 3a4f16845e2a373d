// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecast } from '../lib/steering/forecast';
import { decide, type PolicyInput, type TableDecision, type WorkerSeat } from '../lib/steering/policy';
import { generate, type SteeringTable } from '../lib/steering/program';
import { dice, fraction, pick } from './steering-helper';

/** Worker i on CPU i - 1; `dead` are not live, `unpinned` have no CPU. */
function crew(
  n: number,
  { dead = [], unpinned = [] }: { dead?: number[]; unpinned?: number[] } = {},
): WorkerSeat[] {
  return Array.from({ length: n }, (_, i) => {
    const index = i + 1;
    return { index, live: !dead.includes(index), cpu: unpinned.includes(index) ? undefined : i };
  });
}

/** What is decided in a mode other than `ip`. */
function ask(input: Partial<PolicyInput> & { workers: readonly WorkerSeat[] }): TableDecision {
  const decision = decide({ mode: 'auto', arrivals: [], seats: input.workers.length + 1, ...input });
  assert.notEqual(decision.kind, 'address');
  return decision as TableDecision;
}

const own = (table: SteeringTable) =>
  [...table.own].map(([cpu, { index, keep }]) => [cpu, index, Number(keep.toFixed(4))]);
const weights = (table: SteeringTable) =>
  table.sockets.map(({ index, weight }) => [index, Number(weight.toFixed(4))]);
const indexes = (table: SteeringTable) => table.sockets.map(({ index }) => index);

/** What each worker gets of the arrivals, in fair shares, ascending by index. */
function fairShares(
  { table }: TableDecision,
  arrivals: readonly number[],
  workers: readonly WorkerSeat[],
): number[] {
  const total = arrivals.reduce((a, b) => a + b, 0);
  const owners = new Map(
    workers.flatMap(({ cpu, index }) => (cpu === undefined ? [] : [[cpu, index] as const])),
  );
  const { share } = forecast(
    table,
    arrivals.map((n) => n / total),
    owners,
  );
  return [...share.values()].map((s) => Number((s * table.sockets.length).toFixed(4)));
}

const locality = (
  decision: TableDecision,
  arrivals: readonly number[],
  workers: readonly WorkerSeat[],
): number => {
  const total = arrivals.reduce((a, b) => a + b, 0);
  const owners = new Map(
    workers.flatMap(({ cpu, index }) => (cpu === undefined ? [] : [[cpu, index] as const])),
  );
  return forecast(
    decision.table,
    arrivals.map((n) => n / total),
    owners,
  ).local;
};

test('no live worker: the origin alone', () => {
  for (const mode of ['auto', 'cpu', 'hash', 'ip'] as const) {
    for (const workers of [[], crew(3, { dead: [1, 2, 3] })]) {
      const { table, kind } = ask({ mode, workers, arrivals: [500, 500] });
      assert.deepEqual([kind, indexes(table), table.own.size], ['origin', [0], 0]);
    }
  }
});

test('the origin is never steered to while a worker lives, nor a socket that the group does not have yet', () => {
  for (const mode of ['auto', 'cpu', 'hash'] as const) {
    const seats = [{ index: 0, cpu: 0, live: true }, ...crew(4)];
    const { table } = ask({ mode, workers: seats, arrivals: [500, 500, 500], seats: 4 });
    assert.deepEqual(indexes(table), [1, 2, 3], mode);
    assert.ok(
      [...table.own.values()].every(({ index }) => index >= 1 && index <= 3),
      mode,
    );
  }
});

test('hash: evenly over the live workers, CPUs do not matter', () => {
  const { table, kind } = ask({
    mode: 'hash',
    workers: crew(4, { dead: [2] }),
    arrivals: [1000, 1000, 1000, 1000],
  });
  assert.deepEqual(
    [kind, weights(table), table.own.size],
    [
      'even',
      [
        [1, 1],
        [3, 1],
        [4, 1],
      ],
      0,
    ],
  );
});

test('cpu: all of the own CPU, whatever arrives; CPUs without a live worker go evenly to all', () => {
  const { table, kind } = ask({
    mode: 'cpu',
    workers: crew(4, { dead: [2], unpinned: [4] }),
    arrivals: [10_000, 0, 0],
  });
  assert.equal(kind, 'cpu');
  assert.deepEqual(own(table), [
    [0, 1, 1],
    [2, 3, 1],
  ]);
  assert.deepEqual(weights(table), [
    [1, 1],
    [3, 1],
    [4, 1],
  ]);
  assert.equal(table.loopbackEven, false);
});

test('no worker is pinned: evenly, in every mode', () => {
  for (const mode of ['auto', 'cpu', 'hash'] as const) {
    assert.equal(ask({ mode, workers: crew(2, { unpinned: [1, 2] }), arrivals: [500, 500] }).kind, 'even');
  }
});

test('auto: evenly until enough arrivals are known', () => {
  const workers = crew(2);
  assert.equal(ask({ workers, arrivals: [] }).kind, 'even');
  assert.equal(ask({ workers, arrivals: [100, 99] }).kind, 'even');
  assert.equal(ask({ workers, arrivals: [100, 100] }).kind, 'cpu');
  assert.equal(
    ask({ workers: crew(64), arrivals: new Array(64).fill(15) }).kind,
    'even',
    'more workers need more',
  );
  assert.equal(ask({ workers: crew(64), arrivals: new Array(64).fill(16) }).kind, 'cpu');
});

test('auto: two workers and 50/50 +- 8 % arrivals: all stays where it arrives', () => {
  const workers = crew(2);
  for (const samples of [200, 500, 2000, 100_000]) {
    for (let percent = 42; percent <= 58; percent++) {
      const arrivals = [(samples * percent) / 100, (samples * (100 - percent)) / 100];
      const { table } = ask({ workers, arrivals });
      assert.deepEqual(
        own(table),
        [
          [0, 1, 1],
          [1, 2, 1],
        ],
        `${percent} % of ${samples}`,
      );
      assert.equal(table.loopbackEven, true);
    }
  }
});

test('auto: above its fair share and slack a CPU gives away what is above the fair share', () => {
  const workers = crew(2);
  const arrivals = [8000, 2000];
  const decision = ask({ workers, arrivals });
  assert.deepEqual(own(decision.table), [
    [0, 1, 0.625],
    [1, 2, 1],
  ]);
  assert.deepEqual(weights(decision.table), [
    [1, 0],
    [2, 0.3],
  ]);
  assert.deepEqual(fairShares(decision, arrivals, workers), [1, 1]);
  assert.ok(Math.abs(locality(decision, arrivals, workers) - 0.7) < 1e-9);
});

test('auto: a small sample must be clearly above the limit, a large one need not', () => {
  const keepOf = (arrivals: number[]) => ask({ workers: crew(2), arrivals }).table.own.get(0)?.keep;
  assert.equal(keepOf([130, 70]), 1);
  assert.ok((keepOf([13_000, 7000]) ?? 1) < 0.8);
  assert.ok((keepOf([160, 40]) ?? 1) < 0.8);
});

test('auto: everything on one CPU comes out even, and needs no steering by CPU', () => {
  for (const n of [2, 8, 64]) {
    const workers = crew(n);
    const arrivals = [50_000];
    const decision = ask({ workers, arrivals });
    assert.equal(decision.kind, 'even');
    for (const share of fairShares(decision, arrivals, workers)) assert.ok(Math.abs(share - 1) < 1e-3);
  }
});

test('auto: a machine that goes from all CPUs to one goes back to even shares', () => {
  const workers = crew(4);
  const spread = ask({ workers, arrivals: [1000, 1000, 1000, 1000] });
  assert.equal(locality(spread, [1, 1, 1, 1], workers), 1);
  const one = ask({ workers, arrivals: [4000, 0, 0, 0], previous: spread });
  assert.equal(one.changed, true);
  assert.deepEqual(fairShares(one, [4000], workers), [1, 1, 1, 1]);
});

test('auto: two queues and eight workers: nobody idle, all even', () => {
  const workers = crew(8);
  const arrivals = [5000, 0, 0, 5000];
  const decision = ask({ workers, arrivals });
  assert.equal(decision.kind, 'cpu');
  assert.deepEqual(
    own(decision.table).filter(([, , keep]) => keep !== 1),
    [
      [0, 1, 0.25],
      [3, 4, 0.25],
    ],
  );
  for (const share of fairShares(decision, arrivals, workers)) assert.ok(Math.abs(share - 1) < 1e-3);
});

test('auto: more CPUs than workers: what arrives elsewhere makes up for what is missing', () => {
  const workers = crew(2);
  // CPUs 2 and 3 have no worker. Fair is 1/2; the two own 0.1 and 0.3.
  const arrivals = [1000, 3000, 3000, 3000];
  const decision = ask({ workers, arrivals });
  assert.deepEqual(own(decision.table), [
    [0, 1, 1],
    [1, 2, 1],
  ]);
  assert.deepEqual(weights(decision.table), [
    [1, 0.4],
    [2, 0.2],
  ]);
  assert.deepEqual(fairShares(decision, arrivals, workers), [1, 1]);
});

test('auto: arrivals only where no worker is: evenly', () => {
  assert.equal(ask({ workers: crew(2), arrivals: [0, 0, 500, 500] }).kind, 'even');
});

test('auto: a dead worker leaves the table at once, and its CPU goes to the pool', () => {
  const workers = crew(4);
  const arrivals = [1000, 1000, 1000, 1000];
  const before = ask({ workers, arrivals });
  const left = crew(4, { dead: [2] });
  const after = ask({ workers: left, arrivals, previous: before });
  assert.equal(after.changed, true);
  assert.deepEqual(indexes(after.table), [1, 3, 4]);
  assert.deepEqual(own(after.table), [
    [0, 1, 1],
    [2, 3, 1],
    [3, 4, 1],
  ]);
  for (const share of fairShares(after, arrivals, left)) assert.ok(Math.abs(share - 1) < 1e-3);
  const back = ask({ workers, arrivals, previous: after });
  assert.deepEqual(back.table, before.table);
});

test('auto: workers come and go in a quiet hour: the known picture still counts', () => {
  const workers = crew(4);
  const known = ask({ workers, arrivals: [1000, 1000, 1000, 1000] });
  const quiet = ask({ workers, arrivals: [3, 0, 0, 0], previous: known });
  assert.equal(quiet.changed, false);
  const gone = ask({ workers: crew(4, { dead: [1, 2, 3, 4] }), arrivals: [], previous: quiet });
  assert.equal(gone.kind, 'origin');
  const back = ask({ workers: crew(4, { dead: [4] }), arrivals: [], previous: gone });
  assert.deepEqual(
    [back.kind, own(back.table)],
    [
      'cpu',
      [
        [0, 1, 1],
        [1, 2, 1],
        [2, 3, 1],
      ],
    ],
  );
});

test('auto: an unpinned worker among pinned ones lives from the pool', () => {
  const workers = crew(3, { unpinned: [3] });
  const arrivals = [4000, 4000, 2000];
  const decision = ask({ workers, arrivals });
  assert.deepEqual(own(decision.table), [
    [0, 1, 1],
    [1, 2, 1],
  ]);
  assert.deepEqual(weights(decision.table).at(-1), [3, 0.3333]);
});

test('two workers on one CPU: the first owns it, the other lives from the pool', () => {
  const workers = [
    { index: 1, cpu: 0, live: true },
    { index: 2, cpu: 0, live: true },
  ];
  const arrivals = [6000, 4000];
  const decision = ask({ workers, arrivals });
  assert.deepEqual([...decision.table.own.keys()], [0]);
  for (const share of fairShares(decision, arrivals, workers)) assert.ok(Math.abs(share - 1) < 0.26);
});

test('changed says whether the table differs', () => {
  const workers = crew(2);
  const first = ask({ workers, arrivals: [] });
  assert.equal(first.changed, true, 'the first is always new');
  const second = ask({ workers, arrivals: [5, 5], previous: first });
  assert.equal(second.changed, false);
  const third = ask({ workers, arrivals: [200, 200], previous: second });
  assert.equal(third.changed, true);
  assert.equal(ask({ workers, arrivals: [210, 190], previous: third }).changed, false);
  assert.equal(ask({ mode: 'hash', workers, previous: ask({ mode: 'hash', workers }) }).changed, false);
});

test('noise does not make it flap: steady arrivals, a decision after every 400', () => {
  const random = dice(11);
  for (const spread of [
    [1, 1],
    [0.58, 0.42],
    [0.8, 0.2],
    [1, 1, 1, 1, 1, 1, 1, 1],
    [4, 4, 1, 1, 1, 1, 1, 1],
    [1, 1, 0, 0, 0, 0, 0, 0],
    [1.25, 0.75],
  ]) {
    const workers = crew(spread.length);
    const total = spread.reduce((a, b) => a + b, 0);
    let previous: TableDecision | undefined;
    let changes = 0;
    for (let round = 0; round < 200; round++) {
      const arrivals = spread.map(() => 0);
      for (let i = 0; i < 400; i++) {
        const at = fraction(random) * total;
        const cpu = spread.findIndex((_, last) => at < spread.slice(0, last + 1).reduce((a, b) => a + b, 0));
        arrivals[cpu] = (arrivals[cpu] ?? 0) + 1;
      }
      previous = ask({ workers, arrivals, previous });
      if (previous.changed) changes++;
    }
    assert.ok(changes <= 4, `${changes} changes in 200 rounds of ${spread}`);
  }
});

test('what was given away in a passing burst comes home again, a little of it too', () => {
  const workers = crew(16);
  const even = new Array(16).fill(100_000);
  for (const burst of [135_000, 300_000]) {
    const calm = ask({ workers, arrivals: even });
    const busy = ask({ workers, arrivals: [burst, ...even.slice(1)], previous: calm });
    assert.ok((busy.table.own.get(0)?.keep ?? 1) < 0.8, `${burst}`);
    assert.equal(locality(ask({ workers, arrivals: even, previous: busy }), even, workers), 1, `${burst}`);
  }
});

test('5,000 random machines: always a valid table of live workers, and none above twice its due', () => {
  const random = dice(12);
  for (let i = 0; i < 5000; i++) {
    const n = 1 + pick(random, 40);
    const workers = Array.from({ length: n }, (_, k) => {
      const cpu = pick(random, 4) === 0 ? undefined : k;
      return { index: k + 1, cpu, live: pick(random, 5) > 0 };
    });
    const arrivals = Array.from({ length: pick(random, n + 5) }, () =>
      pick(random, 3) === 0 ? 0 : pick(random, 4000),
    );
    const mode = (['auto', 'auto', 'auto', 'cpu', 'hash'] as const)[pick(random, 5)] ?? 'auto';
    const live = workers.filter((worker) => worker.live);
    const decision = ask({ mode, workers, arrivals });
    generate(decision.table);
    assert.deepEqual(indexes(decision.table), live.length > 0 ? live.map(({ index }) => index) : [0]);
    assert.match(decision.note, /^[ -~]+$/);
    const total = arrivals.reduce((a, b) => a + b, 0);
    if (mode !== 'auto' || decision.kind === 'origin' || total < 5000) continue;
    const shares = fairShares(decision, arrivals, live);
    assert.ok(Math.max(...shares) < 2, `${decision.note}: ${shares}`);
    assert.ok(shares.reduce((a, b) => a + b, 0) / shares.length - 1 < 1e-3);
  }
});

test('arrivals that make no sense count for nothing', () => {
  const decision = ask({ workers: crew(2), arrivals: [NaN, -5, 100] });
  assert.equal(decision.kind, 'even');
  assert.match(decision.note, /^evenly over 2 workers: 100 of 200 arrivals seen$/);
});

test('the notes tell what is done and why', () => {
  const workers = crew(2);
  assert.equal(
    ask({ workers, arrivals: [8000, 2000] }).note,
    'by CPU, 70 % local: 10000 arrivals on 2 CPUs, 1 of them shared',
  );
  assert.equal(ask({ workers: crew(1), mode: 'hash' }).note, 'evenly over 1 worker: FASTSOCKET_STEER=hash');
  assert.equal(ask({ workers, mode: 'cpu' }).note, 'by CPU, 2 of 2 workers on a CPU of their own');
  assert.equal(
    ask({ workers: crew(2, { unpinned: [1, 2] }) }).note,
    'evenly over 2 workers: no worker is pinned',
  );
});
