// SPDX-License-Identifier: Apache-2.0
// Who is told what when the CPUs that may be used change, without a kernel.
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { layOutAgain } from '../lib/cluster/plan';
import type { Settings } from '../lib/config/settings';
import type { Limits } from '../lib/cpu/cgroup';
import { assign } from '../lib/cpu/count';
import { Cpus } from '../lib/cpu/cpus';
import { CpuSet, EVERY_MS, REPLACED_MS, SAME_CHANGE_MS } from '../lib/origin/cpu-set';
import { type Layout, type layOut, type Multiplied, pinPlaces } from '../lib/origin/plan';

interface Scene {
  set: CpuSet;
  told: string[];
  plan: Multiplied;
  world: { mask: number[] | number; whole: number[] | number; limits: Limits | undefined };
}

/** Two workers, on CPUs 0 and 1; as many CPUs as workers, or nobody is pinned. */
function scene(): Scene {
  const world: Scene['world'] = { mask: [0, 1], whole: [0, 1], limits: { detail: '' } };
  const told: string[] = [];
  const places = [0, 1].map((cpu) => ({ cpu, node: 0 }));
  const cpus = new Cpus(places, 2);
  for (const index of [1, 2]) cpus.take(index);
  const plan = {
    addon: { getAffinity: () => world.mask, groupCpus: () => world.whole },
    workers: 2,
    mask: [0, 1],
    quotaCpus: undefined,
    limits: () => world.limits,
    cpus,
    layOutAgain(mask: number[], before: (number | undefined)[]) {
      told.push(`laid out for ${mask}, before ${before.slice(1)}`);
      const pinned = mask.length > 1;
      return {
        cores: [undefined, ...(pinned ? mask.slice(0, 2) : [undefined, undefined])],
        places: { nodes: [], cpus: mask.length, perCpu: pinned ? 1 : 2 },
        unpinned: pinned ? undefined : 'too few',
      };
    },
  } as unknown as Multiplied;
  const set = new CpuSet(plan, {
    workers: () => [1, 2],
    tell: (index, core, free) => told.push(`${index} on ${core}, else ${free.length > 0 ? free : 'any'}`),
    moved: ({ perCpu }) => told.push(`${perCpu} a CPU`),
  });
  return { set, told, plan, world };
}

test('while nothing changes nobody is told anything', () => {
  const { set, told } = scene();
  for (let now = 0; now < 10 * EVERY_MS; now += 100) set.look(now);
  assert.deepEqual(told, []);
});

test('looks are no more frequent than they need be', () => {
  const { set, world, told } = scene();
  set.look(0);
  world.mask = world.whole = [0];
  set.look(EVERY_MS - 1);
  assert.deepEqual(told, []);
  set.look(EVERY_MS);
  assert.equal(told.length, 4);
});

test('fewer, then more: every worker is told, and the plan is what new ones start by', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { set, told, plan, world } = scene();
  world.mask = world.whole = [0];
  set.lookAtOnce();
  mock.timers.tick(10_000);
  assert.deepEqual(told.splice(0), [
    'laid out for 0, before 0,1',
    '1 on undefined, else any',
    '2 on undefined, else any',
    '2 a CPU',
  ]);
  assert.deepEqual(plan.cpus.cores, [undefined, undefined, undefined]);
  world.mask = world.whole = [0, 1];
  set.lookAtOnce();
  mock.timers.tick(10_000);
  assert.deepEqual(told, ['laid out for 0,1, before ,', '1 on 0, else any', '2 on 1, else any', '1 a CPU']);
  assert.deepEqual(plan.cpus.cores, [undefined, 0, 1]);
});

test('a mask that somebody has given the process binds everything in it', () => {
  const { set, told, world } = scene();
  world.mask = [0];
  set.lookAtOnce();
  assert.deepEqual(told.slice(1, 3), ['1 on undefined, else 0', '2 on undefined, else 0']);
});

test('where nobody can say who has given it the mask, everything is bound', () => {
  const { set, told, world } = scene();
  world.mask = [0];
  world.whole = -1;
  set.lookAtOnce();
  assert.deepEqual(told.slice(1, 3), ['1 on undefined, else 0', '2 on undefined, else 0']);
});

test('what was seen in the middle of a change is looked at again', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { set, told, world } = scene();
  // the group has three CPUs already, the thread two of them, then all
  world.whole = [0, 2, 3];
  world.mask = [0, 2];
  set.lookAtOnce();
  assert.equal(told[1], '1 on 0, else 0,2');
  told.length = 0;
  world.mask = [0, 2, 3];
  mock.timers.tick(10_000);
  assert.deepEqual(told.slice(0, 2), ['laid out for 0,2,3, before 0,2', '1 on 0, else any']);
});

test('where nobody had a CPU, for there were too many, the rest may have one each when some have ended', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { set, told, world } = scene();
  set.fewer();
  mock.timers.tick(10 * REPLACED_MS);
  assert.deepEqual(told, [], 'each has one');
  world.mask = world.whole = [0];
  set.lookAtOnce();
  mock.timers.tick(10_000);
  told.length = 0;
  set.fewer();
  mock.timers.tick(REPLACED_MS);
  assert.deepEqual(told.splice(0), ['laid out for 0, before ,'], 'they are too many still');
  world.mask = world.whole = [0, 1];
  set.fewer();
  set.fewer();
  mock.timers.tick(REPLACED_MS - 1);
  assert.deepEqual(told, []);
  mock.timers.tick(1);
  assert.deepEqual(told.slice(-3), ['1 on 0, else any', '2 on 1, else any', '1 a CPU']);
  told.length = 0;
  mock.timers.tick(10 * REPLACED_MS);
  assert.deepEqual(told, []);
});

/** As the real one, without the machine's topology and limits. */
const layOutHere: typeof layOut = ({ workers }, mask, before): Layout => {
  const count = 'n' in workers ? workers.n : mask.length;
  const unpinned = count > mask.length ? 'too few' : undefined;
  const seats = assign({ count, ...(unpinned && { unpinned }) }, mask, new Set(), before);
  const places = { nodes: [], cpus: mask.length, usable: mask.length, perCpu: 1 };
  return { workers: count, cores: [undefined, ...seats.map(({ cpu }) => cpu)], places, unpinned, why: '' };
};

describe("CPUs for an app's own workers that are others", () => {
  const auto = { workers: { kind: 'auto' } } as Settings;
  const cases: [string, { mask: number[]; before: (number | undefined)[]; cores: (number | undefined)[] }][] =
    [
      ['as many as there are workers', { mask: [2, 3], before: [0, 1], cores: [2, 3] }],
      ['fewer: nobody is pinned', { mask: [0], before: [0, 1], cores: [undefined, undefined] }],
      ['more, and one for each again', { mask: [0, 1], before: [undefined, undefined], cores: [0, 1] }],
      ['the same, of which one has gone', { mask: [1, 2], before: [0, 1], cores: [2, 1] }],
      [
        'while workers are being replaced: those that wait go on waiting',
        { mask: [2, 3], before: [0, 1, undefined, undefined], cores: [2, 3, undefined, undefined] },
      ],
      [
        'while workers are being replaced: who can keep its own does',
        { mask: [1, 2], before: [undefined, undefined, 0, 1], cores: [2, undefined, undefined, 1] },
      ],
      [
        'while workers are being replaced: enough for all',
        { mask: [0, 1, 2], before: [0, 1, undefined], cores: [0, 1, 2] },
      ],
    ];
  test('whatever number of copies is asked for', () => {
    const asked = { workers: { kind: 'count', n: 4 } } as Settings;
    const { cores } = layOutAgain(asked, [0, 1], [undefined, undefined, undefined], layOutHere);
    assert.deepEqual(cores, [undefined, 0, 1]);
  });

  test('too many for long: nobody is pinned, until there is one for each again', (t) => {
    t.after(() => mock.timers.reset());
    mock.timers.enable({ apis: ['setTimeout'] });
    const { told, plan } = scene();
    let workers = [1, 2, 3];
    Object.assign(plan, {
      layOutAgain: (mask: number[], before: (number | undefined)[]) =>
        layOutAgain(auto, mask, before, layOutHere),
    });
    const crowd = new CpuSet(plan, {
      workers: () => workers,
      tell: (index, core) => told.push(`${index} on ${core}`),
      moved: () => {},
    });
    plan.cpus.cores.push(undefined);
    crowd.crowded();
    assert.deepEqual(told.splice(0), ['1 on undefined', '2 on undefined', '3 on undefined']);
    assert.deepEqual(plan.cpus.cores, new Array(4).fill(undefined));
    workers = [2, 3];
    crowd.fewer();
    mock.timers.tick(REPLACED_MS);
    assert.deepEqual(told, ['2 on 0', '3 on 1']);
    assert.deepEqual(plan.cpus.cores, [undefined, undefined, 0, 1]);
  });

  for (const [name, { mask, before, cores }] of cases)
    test(name, () => {
      const workers = before.map((_, i) => i + 1);
      const cpus = new Cpus([], before.length);
      before.forEach((cpu, i) => {
        cpus.cores[i + 1] = cpu;
      });
      cpus.become(pinPlaces(layOutAgain(auto, mask, [undefined, ...before], layOutHere)), workers);
      assert.deepEqual(cpus.cores.slice(1), cores);
    });
});

test('a worker that is displaced soon after a change has come to it later, and is told again', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { set, told, world } = scene();
  set.displaced();
  assert.deepEqual(told, [], 'somebody has placed this one elsewhere');
  world.mask = [0, 1, 2];
  set.displaced();
  assert.equal(told.splice(0).length, 4);
  set.displaced();
  assert.deepEqual(told.splice(0).slice(1, 3), ['1 on 0, else any', '2 on 1, else any']);
  set.displaced(performance.now() + SAME_CHANGE_MS);
  assert.deepEqual(told, []);
});

test('who comes later is told what the others were, once something has changed', () => {
  const { set, world } = scene();
  set.lookAtOnce();
  assert.equal(set.free, undefined);
  world.mask = [1];
  set.lookAtOnce();
  assert.deepEqual(set.free, [1]);
  world.whole = [1];
  set.crewChanged();
  assert.deepEqual(set.free, []);
});

test('where the CPUs cannot be seen nothing happens', () => {
  const { set, told, world } = scene();
  world.mask = -1;
  set.lookAtOnce();
  assert.deepEqual(told, []);
});

test('where the limits are not known the CPUs are followed with those of before, and there is no more room', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { plan, world } = scene();
  const events: string[] = [];
  const { layOutAgain } = plan;
  plan.layOutAgain = (mask, before, limits) => {
    events.push(`laid out by a quota of ${limits.cpus}`);
    return layOutAgain(mask, before, limits);
  };
  const set = new CpuSet(plan, {
    workers: () => [1, 2],
    tell: () => {},
    moved: () => {},
    seen: (mask, { cpus }) => events.push(`seen: ${mask}, ${cpus}`),
  });
  world.limits = { cpus: 2, detail: '' };
  set.lookAtOnce();
  world.limits = undefined;
  set.lookAtOnce();
  world.mask = [0];
  set.lookAtOnce();
  assert.deepEqual(events, ['laid out by a quota of 2', 'seen: 0,1, 2', 'laid out by a quota of 2']);
});

test('another quota is looked at anew, and the same one is not', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { set, told, world } = scene();
  for (const cpus of [1.5, 1.5, 2, 2]) {
    world.limits = { cpus, detail: '' };
    set.lookAtOnce();
    mock.timers.tick(10_000);
  }
  world.limits = { detail: '' };
  set.lookAtOnce();
  assert.equal(told.filter((line) => line.startsWith('laid out')).length, 3);
});

test('other workers are told at once; where nothing can be seen then, at the next look', () => {
  const { set, told, world } = scene();
  set.crewChanged();
  assert.equal(told.splice(0).length, 4);
  world.mask = -1;
  set.crewChanged();
  assert.deepEqual(told, []);
  world.mask = [0, 1];
  set.lookAtOnce();
  assert.equal(told.length, 4);
});
