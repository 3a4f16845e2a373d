// SPDX-License-Identifier: Apache-2.0
// Shares of new connections, from what the workers say of themselves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ListenerGroup } from '../lib/group/listener-group';
import { Steering } from '../lib/group/steering';
import {
  type BalanceState,
  balance,
  LEAST_FACTOR,
  MOST_FACTOR,
  type WorkerFigures,
} from '../lib/steering/balance';
import { forecast } from '../lib/steering/forecast';
import { decide, type TableDecision } from '../lib/steering/policy';
import { generate } from '../lib/steering/program';
import { Crew, MS, NS } from './steering-crew';
import { dice, fraction, pick } from './steering-helper';

const ones = (n: number): number[] => Array<number>(n).fill(1);

test('even load, whatever its height: all have exactly their fair share', () => {
  for (const busy of [0, 0.05, 0.5, 0.95, 1]) {
    const crew = new Crew(8);
    for (let i = 0; i < 100; i++)
      assert.deepEqual(
        crew.next(() => ({ accepted: 50, open: 5, busy })),
        ones(8),
      );
    assert.deepEqual(crew.notes, []);
  }
});

test('chance does not move anything: few connections, many short ones, one long request', () => {
  const random = dice(31);
  const few = new Crew(8);
  for (let i = 0; i < 300; i++)
    few.next(() => ({ accepted: pick(random, 2), open: pick(random, 4), busy: 0.1 }));
  assert.deepEqual(few.notes, []);
  const many = new Crew(8);
  for (let i = 0; i < 300; i++)
    many.next(() => ({
      accepted: 900 + pick(random, 200),
      open: 5 + pick(random, 20),
      busy: 0.4 + fraction(random) * 0.2,
    }));
  assert.deepEqual(many.notes, []);
  const blocked = new Crew(8);
  for (let i = 0; i < 100; i++)
    blocked.next((worker) => ({ accepted: 20, open: 2, busy: worker === 0 && i % 30 < 3 ? 1 : 0.2 }));
  assert.deepEqual(blocked.notes, []);
});

test('who is busier than the others gives away after a second, and has it back when it is not', () => {
  const crew = new Crew(4);
  const load = (first: number) => (i: number) => ({ accepted: 50, open: 3, busy: i === 0 ? first : 0.5 });
  for (let i = 0; i < 9; i++) assert.deepEqual(crew.next(load(0.9)), ones(4));
  let last = 1;
  for (let i = 0; i < 50; i++) {
    const [factor = 1, ...others] = crew.next(load(0.9));
    // a table stands for up to 1.5 s, and the share falls by 2.5 % in each tenth of these
    assert.ok(factor <= last && factor >= last * 0.974 ** 15, `${last} -> ${factor}: a bounded step down`);
    assert.deepEqual(others, ones(3));
    last = factor;
  }
  assert.ok(last < 0.5, `${last}`);
  assert.match(
    crew.notes[0] ?? '',
    /^shares of new connections: worker 1 0\.\d\d \(busy \d\d %, all 6\d %\)$/,
  );
  for (let i = 0; i < 200; i++) last = crew.next(load(0.5))[0] ?? 1;
  assert.equal(last, 1);
  assert.equal(crew.notes.at(-1), 'shares of new connections: all fair again');
});

test('between giving away and having it back nothing changes: the hysteresis', () => {
  const crew = new Crew(4);
  const load = (first: number) => (i: number) => ({ accepted: 50, open: 3, busy: i === 0 ? first : 0.5 });
  for (let i = 0; i < 30; i++) crew.next(load(0.9));
  for (let i = 0; i < 30; i++) crew.next(load(0.58));
  const before = crew.next(load(0.58));
  for (let i = 0; i < 50; i++) assert.deepEqual(crew.next(load(0.58)), before);
});

test('all saturated: shares stay where they are', () => {
  const crew = new Crew(4);
  for (let i = 0; i < 30; i++) crew.next((i) => ({ accepted: 50, open: 3, busy: i === 0 ? 0.9 : 0.5 }));
  for (let i = 0; i < 30; i++) crew.next(() => ({ accepted: 50, open: 3, busy: 1 }));
  const before = crew.look();
  for (let i = 0; i < 50; i++)
    assert.deepEqual(
      crew.next(() => ({ accepted: 50, open: 3, busy: 1 })),
      before,
    );
});

test('lasting connections: who has fewer gets more, in proportion, and no more than the bounds', () => {
  const crew = new Crew(4);
  const open = [100, 250, 250, 280];
  let factors: number[] = [];
  for (let i = 0; i < 20; i++)
    factors = crew.next((worker) => ({ accepted: 25, open: (open[worker] as number) + 25 * i, busy: 0.1 }));
  const missing = [120, -30, -30, -60];
  const each = ((factors[0] as number) - 1) / 120;
  assert.ok(each > 0, `${factors}`);
  factors.forEach((factor, i) =>
    assert.ok(Math.abs(factor - 1 - each * (missing[i] as number)) < 1e-9, `${factors}`),
  );
  assert.match(crew.notes[0] ?? '', /worker 1 3\.00 \(1\d\d open, mean 2\d\d\)/);
});

test('a worker that fails fast has few open connections and does not attract more', () => {
  const crew = new Crew(4);
  for (let i = 0; i < 300; i++) {
    const factors = crew.next((worker) => ({ accepted: 100, open: worker === 0 ? 0 : 20, busy: 0.3 }));
    assert.ok((factors[0] as number) < 1.05, `${factors}`);
  }
});

test('who is busy is not sent more for having few connections', () => {
  const crew = new Crew(4);
  let factors: number[] = [];
  for (let i = 0; i < 60; i++)
    factors = crew.next((worker) => ({
      accepted: 5,
      open: (worker === 0 ? 50 : 250) + 5 * i,
      busy: worker === 0 ? 1 : 0.2,
    }));
  assert.ok((factors[0] as number) < 1, `${factors}`);
});

test('counters that go back are another worker, which begins with a fair share of nothing known', () => {
  const crew = new Crew(3);
  for (let i = 0; i < 40; i++) crew.next((i) => ({ accepted: 50, open: 3, busy: i === 0 ? 1 : 0.3 }));
  assert.ok((crew.look(0)[0] as number) < 0.6);
  Object.assign(crew.figures[0] as object, { accepted: 0, open: 3, idle: 0 });
  let factors: number[] = [];
  for (let i = 0; i < 9; i++) factors = crew.next(() => ({ accepted: 50, open: 3, busy: 0.3 }));
  assert.equal(factors[0], 1);
});

test('nothing that makes no sense throws, or moves anybody beyond the bounds', () => {
  const random = dice(32);
  const odd = [NaN, -1, Infinity, -Infinity, 2 ** 60, 2 ** 70, 0, 1.5, Number.MIN_VALUE];
  let state: BalanceState | undefined;
  for (let round = 0; round < 20_000; round++) {
    const value = (): number =>
      pick(random, 4) === 0 ? (odd[pick(random, odd.length)] as number) : pick(random, 5_000);
    const figures: WorkerFigures[] = Array.from({ length: pick(random, 12) }, () => ({
      index: pick(random, 10) === 0 ? value() : pick(random, 12),
      accepted: value(),
      open: value(),
      idle: value() * NS,
    }));
    const elapsed = pick(random, 3) === 0 ? value() : MS;
    ({ state } = balance(pick(random, 50) === 0 ? undefined : state, figures, elapsed));
    for (const factor of state.factors)
      assert.ok(factor >= LEAST_FACTOR && factor <= MOST_FACTOR, `${factor}`);
    const { arrivals, peak, departures, growth, scatter, pace } = state;
    const numbers = [arrivals, peak, departures, growth, scatter, pace.credit, ...state.factors];
    assert.ok(numbers.every(Number.isFinite), `${numbers}`);
  }
});

test('no time has passed: what is known stays', () => {
  const crew = new Crew(3);
  for (let i = 0; i < 5; i++) crew.next(() => ({ accepted: 50, open: 3, busy: 0.3 }));
  const before = crew.state;
  for (const elapsed of [0, -5, NaN]) {
    crew.look(elapsed);
    assert.equal(crew.state, before);
  }
});

test('5,000 random machines and factors: a table of live workers, shares that sum to one and follow the factors', () => {
  const random = dice(33);
  let previous: TableDecision | undefined;
  for (let i = 0; i < 5_000; i++) {
    const n = 1 + pick(random, 40);
    const workers = Array.from({ length: n }, (_, k) => ({
      index: k + 1,
      cpu: pick(random, 4) === 0 ? undefined : k,
      live: pick(random, 5) > 0,
    }));
    const arrivals = Array.from({ length: pick(random, n + 5) }, () => pick(random, 4_000));
    const factors = Array.from({ length: pick(random, n + 2) }, () =>
      pick(random, 8) === 0
        ? ([NaN, -1, 0, Infinity][pick(random, 4)] as number)
        : LEAST_FACTOR + 2.9 * fraction(random),
    );
    const decision = decide({ mode: 'auto', workers, arrivals, factors, previous, seats: n + 1 });
    previous = pick(random, 2) === 0 ? decision : undefined;
    generate(decision.table);
    const live = workers.filter((worker) => worker.live).map(({ index }) => index);
    assert.deepEqual(
      decision.table.sockets.map(({ index }) => index),
      live.length > 0 ? live : [0],
    );
    const total = arrivals.reduce((a, b) => a + b, 0);
    if (total === 0 || live.length === 0) continue;
    const { share } = forecast(
      decision.table,
      arrivals.map((each) => each / total),
      new Map(),
    );
    const sum = [...share.values()].reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum - 1) < 1e-9, `${sum}`);
    if (decision.kind !== 'even') continue;
    const usable = (index: number): number => {
      const factor = factors[index] ?? 1;
      return factor > 0 && factor < Infinity ? factor : 1;
    };
    const all = live.reduce((a, index) => a + usable(index), 0);
    for (const index of live)
      assert.ok(Math.abs((share.get(index) ?? 0) - usable(index) / all) < 0.06 / live.length, `${index}`);
  }
});

function group(): { group: ListenerGroup; attached: () => number } {
  let attached = 0;
  const steer = (): number => {
    attached++;
    return 0;
  };
  const fake = { key: 'k', hasProgram: true, sockets: [7, 8, 9], steer };
  return { group: fake as unknown as ListenerGroup, attached: () => attached };
}

test('the origin: figures that are uneven for long make another table, and every change is explained', () => {
  for (const mode of ['auto', 'hash', 'cpu'] as const) {
    const said: string[] = [];
    const steering = new Steering(mode, [undefined, 0, 1], (why) => said.push(why));
    const { group: fake, attached } = group();
    const apply = (): void => steering.apply(fake, [1, 2]);
    apply();
    const figures = [1, 2].map((index) => ({ index, accepted: 0, open: 0, idle: 0 }));
    for (let i = 0; i < 80; i++) {
      figures.forEach((each, k) => {
        each.accepted += 50;
        each.idle += (k === 0 ? 0.1 : 0.7) * MS * NS;
      });
      steering.balance(
        figures.map((each) => ({ ...each })),
        MS,
        apply,
      );
    }
    if (mode !== 'auto') {
      assert.equal(attached(), 1, mode);
      continue;
    }
    assert.ok(attached() > 2);
    assert.ok(said.some((line) => /^shares of new connections: worker 1 0\.\d\d \(busy/.test(line)));
    assert.match(
      said.at(-1) ?? '',
      /^k: by chance over 2 workers: .* arrivals seen; shares 0\.\d\d to 1\.\d\d/,
    );
    const tables = said.filter((line) => line.startsWith('k: ')).length;
    assert.equal(tables, attached());
  }
});
