// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import {
  AFTER_SIGNAL_MS,
  CANARY,
  ELSEWHERE_MS,
  FORK_GRACE_MS,
  LASTS_MS,
  Lifecycle,
  SETTLED_MS,
  SOON_ENDED,
  SOON_MS,
} from '../lib/workers/lifecycle';

interface Group {
  key: string;
  openedAt: number;
  ready: Set<number>;
}

function set(t: TestContext, overrides: { clusterLoaded?: boolean; originStartMs?: number } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const groups: Group[] = [];
  const seen: string[] = [];
  const world: { forks: boolean; unheard: string | undefined } = { forks: false, unheard: undefined };
  const lifecycle = new Lifecycle({
    originStartMs: overrides.originStartMs ?? 50,
    clusterLoaded: overrides.clusterLoaded ?? false,
    now: () => now,
    hooks: {
      groups: () => groups,
      start: (index) => seen.push(`start ${index}`),
      giveUp: (reason) => seen.push(`give up: ${reason}`),
      multiply: () => seen.push('multiply'),
      endCanary: () => seen.push('end canary'),
      withdraw: (reason) => seen.push(`withdraw: ${reason}`),
      appForks: () => world.forks,
      unheard: () => world.unheard,
    },
  });
  const pass = (ms: number) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  const open = (key = '4|0.0.0.0|80') => {
    const group = { key, openedAt: now, ready: new Set<number>() };
    groups.push(group);
    lifecycle.groupOpened();
    return group;
  };
  const close = (group: Group) => {
    groups.splice(groups.indexOf(group), 1);
    lifecycle.groupClosed();
  };
  return { lifecycle, groups, seen, world, pass, open, close, now: () => now };
}

describe('from one process to many', () => {
  test('a listener must outlive 100 ms before anything is forked', (t) => {
    const { seen, pass, open, close } = set(t);
    close(open());
    pass(SETTLED_MS * 2);
    assert.deepEqual(seen, []);
    open();
    pass(SETTLED_MS - 1);
    assert.deepEqual(seen, []);
    pass(1);
    assert.deepEqual(seen, ['start 1']);
  });

  test('a probe that closes does not let a younger listener pass for settled', (t) => {
    const { seen, pass, open, close } = set(t);
    const probe = open();
    pass(SETTLED_MS - 10);
    close(probe);
    open();
    pass(10);
    assert.deepEqual(seen, []);
    pass(SETTLED_MS - 10);
    assert.deepEqual(seen, ['start 1']);
  });

  test('the others follow when the canary serves everything the origin listens on', (t) => {
    const { lifecycle, seen, pass, open } = set(t);
    const first = open('4|0.0.0.0|80');
    const second = open('4|0.0.0.0|81');
    pass(SETTLED_MS);
    first.ready.add(CANARY);
    lifecycle.workerReady();
    assert.deepEqual(seen, ['start 1']);
    second.ready.add(CANARY);
    lifecycle.workerReady();
    pass(LASTS_MS - 1);
    assert.deepEqual(seen, ['start 1']);
    pass(1);
    assert.deepEqual(seen, ['start 1', 'multiply']);
    pass(60_000);
    assert.equal(lifecycle.state, 'full');
  });

  test('a canary that fails a moment after it has come to serve has proved nothing', (t) => {
    const { lifecycle, seen, pass, open } = set(t);
    open().ready.add(CANARY);
    pass(SETTLED_MS);
    lifecycle.workerReady();
    pass(LASTS_MS - 1);
    assert.equal(lifecycle.canaryExited(1, null), true);
    pass(60_000);
    assert.deepEqual(seen, [
      'start 1',
      'give up: the copy exited with code 1 soon after it had come to listen',
    ]);
  });

  test('one that closes its server in that moment serves later, or not', (t) => {
    const { lifecycle, seen, pass, open } = set(t);
    const { ready } = open();
    pass(SETTLED_MS);
    ready.add(CANARY);
    lifecycle.workerReady();
    ready.delete(CANARY);
    pass(LASTS_MS);
    assert.deepEqual(seen, ['start 1']);
    ready.add(CANARY);
    lifecycle.workerReady();
    pass(LASTS_MS);
    assert.deepEqual(seen, ['start 1', 'multiply']);
  });

  for (const stays of [true, false])
    test(`a canary that listens just in time, and ${stays ? 'lasts' : 'does not go on'}`, (t) => {
      const { lifecycle, seen, pass, open } = set(t);
      const { ready } = open();
      pass(SETTLED_MS);
      pass(10_000 - 1);
      ready.add(CANARY);
      lifecycle.workerReady();
      if (!stays) ready.delete(CANARY);
      pass(LASTS_MS);
      assert.match(seen.at(-1) as string, stays ? /^multiply$/ : /^give up: .* within 10000 ms$/);
    });

  describe('workers that end by themselves soon after they have come to serve', () => {
    const multiplied = (t: TestContext) => {
      const world = set(t);
      world.open().ready.add(CANARY);
      world.pass(SETTLED_MS);
      world.lifecycle.workerReady();
      world.pass(LASTS_MS);
      return world;
    };

    /** Time passes, and one ends that has served for so long. */
    function ends(
      { lifecycle, pass, now }: ReturnType<typeof set>,
      { servedMs = 1, waitMs = SOON_MS + 1, byItself = true, othersLast = false },
    ): boolean {
      pass(waitMs);
      const servedAt = now() - servedMs;
      return lifecycle.workerExited({ code: 1, signal: null, servedAt, byItself, othersLast });
    }

    test('one after the other: the app is one process', (t) => {
      const world = multiplied(t);
      for (let i = 1; i < SOON_ENDED; i++) assert.equal(ends(world, { servedMs: SOON_MS - 1 }), false);
      assert.equal(ends(world, { servedMs: SOON_MS - 1 }), true);
      assert.match(
        world.seen.at(-1) as string,
        /^withdraw: the copy exited with code 1 soon after it had come to listen/,
      );
    });

    test('while others last, or after one that has served longer: they are replaced', (t) => {
      const world = multiplied(t);
      for (const [servedMs, othersLast] of [
        [1, true],
        [1, false],
        [1, false],
        [SOON_MS, false],
        [1, false],
        [1, false],
      ] as const)
        assert.equal(ends(world, { servedMs, othersLast }), false);
    });

    for (const byItself of [true, false])
      test(`once one has served for long, and ended ${byItself ? 'by itself' : 'as it was told'}: no matter of copies`, (t) => {
        const world = multiplied(t);
        assert.equal(ends(world, { servedMs: 10_000, byItself }), false);
        for (let i = 0; i < 9; i++) assert.equal(ends(world, {}), false);
      });

    test('all of a crew at once are one attempt', (t) => {
      const world = multiplied(t);
      for (let i = 1; i < SOON_ENDED; i++) {
        assert.equal(ends(world, { servedMs: 100 }), false);
        for (const servedMs of [101, 102, 103, 104])
          assert.equal(ends(world, { servedMs, waitMs: 1 }), false);
      }
      assert.equal(ends(world, { servedMs: 100 }), true);
    });

    test('those that were told to end, or were killed, show nothing', (t) => {
      const world = multiplied(t);
      for (let i = 0; i < 9; i++) assert.equal(ends(world, { byItself: false }), false);
    });
  });

  test('a canary that dies, listens elsewhere, or never listens ends multiplying once and for all', (t) => {
    const cases: [string, (world: ReturnType<typeof set>) => void][] = [
      ['exited with code 1', ({ lifecycle }) => lifecycle.canaryExited(1, null)],
      ['was ended by SIGSEGV', ({ lifecycle }) => lifecycle.canaryExited(null, 'SIGSEGV')],
      [
        'listens on 0.0.0.0:81',
        ({ lifecycle, pass }) => {
          lifecycle.canaryElsewhere('4|0.0.0.0|81', () => false);
          pass(ELSEWHERE_MS);
        },
      ],
      ['within 10000 ms', ({ pass }) => pass(10_000)],
    ];
    for (const [reason, happen] of cases) {
      const world = set(t);
      world.open();
      world.pass(SETTLED_MS);
      happen(world);
      assert.equal(world.lifecycle.state, 'off', reason);
      assert.match(world.seen.at(-1) ?? '', new RegExp(`give up: .*${reason}`));
      world.open('4|0.0.0.0|90');
      world.pass(60_000);
      assert.equal(world.seen.length, 2, reason);
      t.mock.timers.reset();
    }
  });

  test('a canary that ends after a signal proves nothing: another one follows if the app goes on', (t) => {
    const { lifecycle, seen, pass, open, close } = set(t);
    const group = open();
    pass(SETTLED_MS);
    assert.equal(lifecycle.canaryObeyed(), true);
    pass(AFTER_SIGNAL_MS);
    pass(0);
    assert.deepEqual(seen, ['start 1', 'start 1']);
    assert.equal(lifecycle.canaryObeyed(), true);
    close(group);
    pass(60_000);
    assert.deepEqual(seen, ['start 1', 'start 1']);
    assert.equal(lifecycle.canaryObeyed(), false);
  });

  test('an address the origin listens on a little later is no reason', (t) => {
    const { lifecycle, pass, open } = set(t);
    open();
    pass(SETTLED_MS);
    let known = false;
    lifecycle.canaryElsewhere('4|0.0.0.0|81', () => known);
    pass(ELSEWHERE_MS / 2);
    known = true;
    pass(ELSEWHERE_MS);
    assert.equal(lifecycle.state, 'canary');
  });

  test('a copy that has spoken to nobody and did not come to listen may have waited for the answer', (t) => {
    const { lifecycle, seen, world, pass, open } = set(t);
    open();
    pass(SETTLED_MS);
    world.unheard = 'lock';
    lifecycle.canaryExited(1, null);
    assert.match(
      seen[1] as string,
      /exited with code 1 .*; what it said by process\.send\(\) \(lock\) the or/,
    );
  });

  test('a request to a cluster primary that is none ends multiplying, until the copy serves', (t) => {
    const { lifecycle, seen, pass, open } = set(t);
    open();
    pass(SETTLED_MS);
    lifecycle.clusterRequest('queryServer');
    assert.match(
      seen[1] as string,
      /give up: the copy sent a cluster request \(queryServer\) that has no prim/,
    );
  });

  test('from one that serves already it is refused, and nothing else', (t) => {
    const { lifecycle, seen, pass, open } = set(t);
    open().ready.add(CANARY);
    pass(SETTLED_MS);
    lifecycle.workerReady();
    pass(LASTS_MS);
    lifecycle.clusterRequest('queryServer');
    assert.deepEqual(seen, ['start 1', 'multiply']);
  });

  test('a copy may take five times as long as the original took', (t) => {
    const { lifecycle, pass, open } = set(t, { originStartMs: 4_000 });
    open();
    pass(SETTLED_MS);
    pass(19_999);
    assert.equal(lifecycle.state, 'canary');
    pass(1);
    assert.equal(lifecycle.state, 'off');
  });

  test('where the app had loaded cluster, a fork within a second wins', (t) => {
    const { seen, world, pass, open } = set(t, { clusterLoaded: true });
    open();
    pass(FORK_GRACE_MS - 1);
    assert.deepEqual(seen, []);
    world.forks = true;
    pass(1);
    assert.deepEqual(seen, ['give up: the app forks cluster workers of its own']);
  });

  test('when the last listener closes, the canary goes and a later listener starts another', (t) => {
    const { seen, pass, open, close } = set(t);
    const group = open();
    pass(SETTLED_MS);
    close(group);
    assert.deepEqual(seen, ['start 1', 'end canary']);
    open();
    pass(SETTLED_MS);
    assert.deepEqual(seen, ['start 1', 'end canary', 'start 1']);
  });
});
