// SPDX-License-Identifier: Apache-2.0
// What it takes to have more workers: sockets in all groups or none, and an app that goes on. No kernel, no processes.
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import type { Limits } from '../lib/cpu/cgroup';
import { Cpus } from '../lib/cpu/cpus';
import type { ListenerGroup } from '../lib/group/listener-group';
import type { ChangedUser } from '../lib/origin/changed-user';
import { Growth, type GrowthOptions } from '../lib/origin/growth';
import { HOLDS_MS } from '../lib/origin/room';

const EMFILE = -24;
const NO_LIMITS: Limits = { detail: '' };

interface World {
  holds: number;
  live: { index: number; servedAt?: number; toldAt?: number }[];
  state: GrowthOptions['lifecycle']['state'];
  closing: boolean;
  killed: boolean;
  groups: ListenerGroup[];
  /** Sockets that can be made. */
  sockets: number;
}

interface Scene {
  world: World;
  growth: Growth;
  plan: GrowthOptions['plan'];
  events: string[];
  /** Two looks, the time between them later. */
  look(): void;
  ends(index: number): boolean;
  /** All that has happened at once has. */
  settle(): void;
  looks(): number;
}

function group(port: number): ListenerGroup {
  const sockets = [0, 1, 2].map((index) => port + index);
  return {
    key: `4|127.0.0.1|${port}`,
    hasProgram: true,
    backlog: 511,
    sockets,
    add: (more: number[]) => sockets.push(...more),
  } as unknown as ListenerGroup;
}

/** Two workers for two ports, and room for two. */
function scene(t: TestContext, follows = true): Scene {
  mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] });
  t.after(() => mock.timers.reset());
  const events: string[] = [];
  const world: World = {
    holds: 2,
    live: [
      { index: 1, servedAt: 0 },
      { index: 2, servedAt: 0 },
    ],
    state: 'full',
    closing: false,
    killed: false,
    groups: [group(100), group(200)],
    sockets: 1_000,
  };
  let made = 0;
  let looked = 0;
  const addon = {
    sibling: () => (made < world.sockets ? 1_000 + ++made : EMFILE),
    close: (fd: number) => events.push(`close ${fd}`),
  };
  const cpus = new Cpus(
    [0, 1].map((cpu) => ({ cpu, node: 0 })),
    2,
  );
  for (const index of [1, 2]) cpus.take(index);
  const plan = {
    addon,
    workers: 2,
    cpus,
    exitWaitMs: 10_000,
    room: follows ? () => world.holds : undefined,
  } as unknown as GrowthOptions['plan'];
  const look = () => growth.look([], NO_LIMITS);
  const pool = {
    get live() {
      return world.live;
    },
    get size() {
      return world.live.length;
    },
  } as unknown as GrowthOptions['pool'];
  const groups = {
    get size() {
      return world.groups.length;
    },
    get closing() {
      return world.closing;
    },
    [Symbol.iterator]: () => world.groups[Symbol.iterator](),
  } as unknown as GrowthOptions['groups'];
  const growth: Growth = new Growth({
    plan,
    groups,
    pool,
    served: {
      balancer: { watch: ({ key }: ListenerGroup) => events.push(`watch ${key}`) },
      lookAtCpus: () => {
        looked++;
        look();
      },
      crewChanged: () => events.push(`crew ${growth.indexes}`),
    } as unknown as GrowthOptions['served'],
    lifecycle: {
      get state() {
        return world.state;
      },
    },
    user: { now: undefined } as ChangedUser,
    kills: { more: () => world.killed },
    start: (index) => {
      events.push(`start ${index}`);
      world.live.push({ index, servedAt: 0 });
    },
  });
  const ends = (index: number) => {
    world.live = world.live.filter((worker) => worker.index !== index);
    return growth.replaces(index);
  };
  const settle = () => mock.timers.tick(0);
  return {
    world,
    growth,
    plan,
    events,
    look: () => {
      look();
      mock.timers.tick(HOLDS_MS);
    },
    ends,
    settle,
    looks: () => looked,
  };
}

test('each group has sockets for the new workers, who are laid out before they start', (t) => {
  const { world, plan, events, look } = scene(t);
  world.holds = 4;
  look();
  assert.deepEqual(events, [
    'watch 4|127.0.0.1|100',
    'watch 4|127.0.0.1|200',
    'crew 1,2,3,4',
    'start 3',
    'start 4',
  ]);
  assert.equal(plan.workers, 4);
  assert.deepEqual(
    world.groups.map(({ sockets }) => sockets),
    [
      [100, 101, 102, 1001, 1002],
      [200, 201, 202, 1003, 1004],
    ],
  );
});

test('where one cannot be made none is kept, and there are no more workers', (t) => {
  const { world, plan, events, look } = scene(t);
  world.holds = 4;
  world.sockets = 3;
  look();
  assert.deepEqual(events.sort(), ['close 1001', 'close 1002', 'close 1003']);
  assert.equal(plan.workers, 2);
  assert.deepEqual(
    world.groups.map(({ sockets }) => sockets.length),
    [3, 3],
  );
});

test('not while copies have not proved themselves, when the app is one process again, has no listener, or closes one, or was short of memory', (t) => {
  for (const change of [
    { state: 'canary' },
    { state: 'off' },
    { groups: [] },
    { closing: true },
    { killed: true },
    {
      live: [
        { index: 1, servedAt: 0 },
        { index: 2, servedAt: 0, toldAt: performance.now() },
      ],
    },
    { live: [{ index: 1, servedAt: 0 }, { index: 2 }] },
  ] as Partial<World>[]) {
    const { world, events, look } = scene(t);
    Object.assign(world, change, { holds: 4 });
    look();
    assert.deepEqual(events, [], JSON.stringify(change));
    mock.timers.reset();
  }
});

test('who ends is not replaced where there are too many, and its CPU is free', (t) => {
  const { world, plan, growth, events, ends, settle, look } = scene(t);
  world.holds = 1;
  look();
  assert.deepEqual(events, [], 'nobody is ended');
  assert.equal(ends(1), false);
  assert.deepEqual(growth.indexes, [2]);
  settle();
  assert.deepEqual(events.splice(0), ['crew 2']);
  assert.deepEqual(plan.cpus.cores, [undefined, undefined, 1]);
  assert.equal(growth.replaces(1), false, 'asked once more');
  settle();
  assert.deepEqual(events, []);
  assert.equal(ends(2), true, 'of the last one there is a successor');
});

/** Worker 1 has ended, and there is no room for it. */
function firstVacant(t: TestContext) {
  const all = scene(t);
  all.world.holds = 1;
  all.ends(1);
  all.settle();
  all.events.length = 0;
  return all;
}

test('places that are free are taken before there are more', (t) => {
  const { world, growth, events, look } = firstVacant(t);
  world.holds = 3;
  look();
  assert.deepEqual(events.slice(-3), ['crew 1,2,3', 'start 1', 'start 3']);
  assert.deepEqual(growth.indexes, [1, 2, 3]);
});

test('a place that is free is taken also where no socket is to be had', (t) => {
  const { world, growth, events, look } = firstVacant(t);
  world.holds = 3;
  world.sockets = 0;
  look();
  assert.deepEqual(events, ['crew 1,2', 'start 1']);
  assert.deepEqual(growth.indexes, [1, 2]);
});

test('a number that stays: whoever ends is replaced, and there are never more', (t) => {
  const { world, events, ends, look } = scene(t, false);
  world.holds = 4;
  look();
  world.holds = 1;
  look();
  assert.equal(ends(1), true);
  assert.deepEqual(events, []);
});

test('many at once: the others are laid out once, and nobody looks for each of them', (t) => {
  const { world, growth, plan, events, looks, settle } = scene(t);
  plan.workers = 6;
  world.live = [];
  world.holds = 2;
  assert.deepEqual(growth.toReplace([1, 2, 3, 4, 5, 6]), [1, 2]);
  assert.equal(looks(), 1);
  assert.deepEqual(events, []);
  settle();
  assert.deepEqual(events.splice(0), ['crew 1,2']);
  assert.deepEqual(
    [2, 3].map((index) => growth.vacantSince(index) !== undefined),
    [false, true],
  );
  // one after the other, at the same time
  world.holds = 3;
  growth.toReplace([3]);
  settle();
  events.length = 0;
  world.live = [{ index: 1, servedAt: 0 }];
  world.holds = 1;
  growth.replaces(2);
  growth.replaces(3);
  settle();
  assert.deepEqual(events.splice(0), ['crew 1']);
  // and back
  world.holds = 3;
  assert.deepEqual(growth.toReplace([2, 3, 4]), [2, 3]);
  settle();
  assert.deepEqual(events, ['crew 1,2,3']);
});
