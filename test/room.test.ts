// SPDX-License-Identifier: Apache-2.0
// When there is to be another number of workers, and how many there is room for. No kernel, no processes.
import assert from 'node:assert/strict';
import { describe, mock, type TestContext, test } from 'node:test';
import { DEFAULT_SETTINGS, MAX_WORKERS, type Settings } from '../lib/config/settings';
import { followsLimits, roomFor } from '../lib/cpu/room';
import type { Refusal } from '../lib/group/refusal';
import { HOLDS_MS, MOST_REFUSED_MS, REFUSED_MS, Room } from '../lib/origin/room';

interface Scene {
  room: Room;
  world: { holds: number; count: number; most: number; settled: boolean; refused: Refusal | undefined };
  /** By how many it has grown, one after the other. */
  grown: number[];
  /** A look, as traffic brings about. */
  look(now?: number): void;
}

/** Two workers, and room for two. */
function scene(t: TestContext): Scene {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  const world: Scene['world'] = { holds: 2, count: 2, most: 100, settled: true, refused: undefined };
  const grown: number[] = [];
  let at = 0;
  const look = (now = at) => {
    at = now;
    room.look(world.holds, now);
  };
  const room = new Room({
    count: () => world.count,
    settled: () => world.settled,
    most: () => world.most,
    grow: (by) => {
      grown.push(by);
      if (!world.refused) world.count += by;
      return world.refused;
    },
    lookAgain: () => look(),
  });
  return { room, world, grown, look };
}

describe('more workers', () => {
  test('when there has been room for a while', (t) => {
    const { world, grown, look } = scene(t);
    look();
    world.holds = 5;
    look();
    look();
    mock.timers.tick(HOLDS_MS - 1);
    look();
    assert.deepEqual(grown, [], 'not so soon');
    mock.timers.tick(1);
    assert.deepEqual(grown, [3]);
    look();
    mock.timers.tick(10 * HOLDS_MS);
    assert.deepEqual(grown, [3], 'once');
  });

  test('not for room that is gone at the second look, or between the two', (t) => {
    const { world, grown, look } = scene(t);
    world.holds = 5;
    look();
    world.holds = 2;
    mock.timers.tick(HOLDS_MS);
    look();
    world.holds = 5;
    look();
    mock.timers.tick(HOLDS_MS / 2);
    world.holds = 2;
    look();
    world.holds = 5;
    look();
    mock.timers.tick(HOLDS_MS / 2);
    assert.deepEqual(grown, [], 'the wait has begun anew');
    mock.timers.tick(HOLDS_MS / 2);
    assert.deepEqual(grown, [3]);
  });

  test('as many as there was room for all the while', (t) => {
    const { world, grown, look } = scene(t);
    for (const holds of [8, 3, 6]) {
      world.holds = holds;
      look();
    }
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, [1]);
    look();
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, [1, 3]);
  });

  test('as many as what there is leaves room for, all the while', (t) => {
    const { world, grown, look } = scene(t);
    world.holds = 8;
    for (const most of [2, 5, 3, 4]) {
      world.most = most;
      look();
    }
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, [1]);
    look();
    world.most = 2;
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, [1]);
  });

  test('none while workers do not serve, or something closes', (t) => {
    const { world, grown, look } = scene(t);
    world.holds = 3;
    world.settled = false;
    look();
    mock.timers.tick(10 * HOLDS_MS);
    world.settled = true;
    look();
    world.settled = false;
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, []);
  });

  test('what is refused is not asked for all the time, and a place that is free is taken meanwhile', (t) => {
    const { world, grown, look } = scene(t);
    world.holds = 4;
    world.refused = { why: 'EMFILE', lasts: false };
    look();
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown.splice(0), [2]);
    look(REFUSED_MS - 1);
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, []);
    // one has ended
    world.count = 1;
    world.refused = undefined;
    look(REFUSED_MS - 1);
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown.splice(0), [1]);
    look(REFUSED_MS - 1);
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, [], 'that was none of those');
    look(REFUSED_MS);
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown.splice(0), [2], 'then it is asked for again');
  });

  /** When it is asked for: looks every second. */
  function asked({ grown, look }: Scene, forMs: number): number[] {
    const at: number[] = [];
    for (let now = 0; now < forMs; now += 1_000) {
      look(now);
      mock.timers.tick(HOLDS_MS);
      if (grown.splice(0).length > 0) at.push(now);
    }
    return at;
  }

  test('what goes on being refused is asked for at ever longer intervals, an hour at most', (t) => {
    const here = scene(t);
    Object.assign(here.world, { holds: 4, refused: { why: 'EMFILE', lasts: false } });
    const at = asked(here, 5 * MOST_REFUSED_MS);
    const pauses = at.slice(1).map((now, i) => (now - (at[i] as number)) / REFUSED_MS);
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  test('what was had in the end may be refused anew', (t) => {
    const here = scene(t);
    const { world } = here;
    Object.assign(world, { holds: 4, refused: { why: 'EMFILE', lasts: false } });
    asked(here, 4 * REFUSED_MS);
    world.refused = undefined;
    here.look(10 * REFUSED_MS);
    mock.timers.tick(HOLDS_MS);
    assert.equal(world.count, 4);
    here.grown.length = 0;
    Object.assign(world, { holds: 6, refused: { why: 'EMFILE', lasts: false } });
    here.look(20 * REFUSED_MS);
    mock.timers.tick(HOLDS_MS);
    here.look(21 * REFUSED_MS);
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(here.grown, [2, 2]);
  });

  test('what is refused for good is asked for once', (t) => {
    const here = scene(t);
    Object.assign(here.world, { holds: 4, refused: { why: 'EPERM', lasts: true } });
    assert.equal(asked(here, 3 * MOST_REFUSED_MS).length, 1);
  });

  test('not by less than one', (t) => {
    const { world, grown, look } = scene(t);
    world.holds = 4;
    look();
    world.most = 3;
    look();
    // one has come meanwhile
    const { settled } = world;
    Object.defineProperty(world, 'settled', {
      get: () => {
        world.most = 100;
        return settled;
      },
    });
    world.count = 3;
    mock.timers.tick(HOLDS_MS);
    assert.deepEqual(grown, []);
  });

  test('while nothing changes no timer is set', (t) => {
    const { look } = scene(t);
    const timers = mock.method(globalThis, 'setTimeout');
    look();
    look();
    assert.equal(timers.mock.callCount(), 0);
    timers.mock.restore();
  });
});

test('who ends is replaced where there is room, as was last seen', (t) => {
  const { room, world, look } = scene(t);
  world.count = 1;
  assert.ok(room.free > 0, 'nothing has been seen');
  world.holds = 1;
  look();
  assert.equal(room.free, 0);
  world.holds = 2;
  look();
  assert.equal(room.free, 1);
  world.most = 1;
  look();
  assert.equal(room.free, 1, 'whatever the others weigh');
});

describe('room', () => {
  const MIB = 1024 * 1024;
  const input = (settings: Partial<Settings>, cpus: number) => ({
    settings: { ...DEFAULT_SETTINGS, ...settings },
    mask: Array.from({ length: cpus }, (_, cpu) => cpu),
    originRssBytes: 100 * MIB,
  });

  test('auto: CPUs, quota and memory', () => {
    assert.equal(roomFor(input({}, 8)), 8);
    assert.equal(roomFor({ ...input({}, 8), quotaCpus: 2.5 }), 3);
    assert.equal(roomFor({ ...input({}, 8), quotaCpus: 6, memoryBytes: 700 * MIB }), 4);
    assert.equal(roomFor({ ...input({}, 8), memoryBytes: 10 * MIB }), 1);
  });

  test('a percentage: of the CPUs alone', () => {
    const half = { workers: { kind: 'percent', p: 50 } } as const;
    assert.equal(roomFor({ ...input(half, 8), quotaCpus: 1, memoryBytes: 10 * MIB }), 4);
  });

  test('a list of CPUs: these, while they may be used', () => {
    const pin = { kind: 'list', cpus: [0, 1, 2] } as const;
    assert.equal(roomFor(input({ pin }, 8)), 3);
    assert.equal(roomFor(input({ pin }, 2)), 2);
  });

  test('never more than there can be', () => {
    assert.equal(roomFor(input({}, MAX_WORKERS + 1)), MAX_WORKERS);
  });

  test('a number that was asked for stays, and so do those among whom addresses choose', () => {
    const follows = (settings: Partial<Settings>) => followsLimits({ ...DEFAULT_SETTINGS, ...settings });
    assert.equal(follows({}), true);
    assert.equal(follows({ workers: { kind: 'percent', p: 50 }, steer: 'cpu' }), true);
    assert.equal(follows({ workers: { kind: 'count', n: 2 } }), false);
    assert.equal(follows({ steer: 'ip' }), false);
  });
});
