// SPDX-License-Identifier: Apache-2.0
// An app that runs as plain Node until there is room for more: it comes first, and it is not multiplied against its will.
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import type { Limits } from '../lib/cpu/cgroup';
import type { Refusal } from '../lib/group/refusal';
import type { TcpHandle } from '../lib/hook/tcp';
import { type FirstListen, Later } from '../lib/origin/later';
import { HOLDS_MS } from '../lib/origin/room';

const MIB = 1024 * 1024;

interface Scene {
  later: Later;
  events: string[];
  world: { holds: number; limits: Limits; rss: number; refused: Refusal | undefined; fails: boolean };
  /** A connection comes, a second after the one before. */
  connection(): void;
  /** Comes to be seen to be so for long enough. */
  lasting(): void;
}

function scene(t: TestContext): Scene {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const events: string[] = [];
  const world: Scene['world'] = {
    holds: 1,
    limits: { detail: '' },
    rss: 100 * MIB,
    refused: undefined,
    fails: false,
  };
  const first = {
    addon: {
      getAffinity: () => {
        events.push('look');
        if (world.fails) throw new Error('broken');
        return [0];
      },
    },
    originRssBytes: 100 * MIB,
    originStartMs: 0,
    rssBytes: () => world.rss,
    limits: () => world.limits,
    room: () => world.holds,
  } as unknown as FirstListen;
  const later = new Later(first, {
    closed: () => {},
    multiply: (listening, workers) => {
      events.push(`multiply: ${listening.size} by ${workers}`);
      return world.refused;
    },
  });
  const handle = {
    onconnection: () => events.push('served'),
    close: () => {},
  } as unknown as TcpHandle;
  const bind = { family: 4, address: '127.0.0.1', port: 80, flags: 0 } as const;
  later.add(handle, { key: '4|127.0.0.1|80', bind, backlog: 511 });
  const connection = () => {
    now += 1_000;
    handle.onconnection(0, {} as TcpHandle);
  };
  const lasting = () => {
    connection();
    mock.timers.tick(HOLDS_MS);
  };
  return { later, events, world, connection, lasting };
}

test('what comes is served before it looks', (t) => {
  const { events, connection } = scene(t);
  connection();
  assert.deepEqual(events, ['served', 'look']);
});

test('by as many as were seen twice', (t) => {
  const { events, world, connection } = scene(t);
  world.holds = 3;
  connection();
  world.holds = 8;
  mock.timers.tick(HOLDS_MS);
  assert.deepEqual(events, ['served', 'look', 'look', 'multiply: 1 by 3']);
  connection();
  connection();
  assert.deepEqual(events.splice(4), ['served', 'served'], 'and no more');
});

test('where looking fails it does not look again, and the app hears nothing', (t) => {
  const { events, world, connection } = scene(t);
  world.fails = true;
  for (let i = 0; i < 3; i++) connection();
  assert.deepEqual(events, ['served', 'look', 'served', 'served']);
});

test('once it has been ended there are no more looks', (t) => {
  const { later, events, world, connection } = scene(t);
  world.holds = 3;
  connection();
  later.end('the app forks');
  mock.timers.tick(HOLDS_MS);
  connection();
  assert.deepEqual(events, ['served', 'look', 'served']);
});

test('what is refused for good is not looked for any more', (t) => {
  const { events, world, lasting } = scene(t);
  Object.assign(world, { holds: 3, refused: { why: 'EPERM', lasts: true } });
  lasting();
  events.length = 0;
  lasting();
  assert.deepEqual(events, ['served']);
});

test('an app that has come to weigh more has room for fewer copies', {
  skip: process.platform !== 'linux',
}, (t) => {
  const { events, world, lasting } = scene(t);
  world.holds = 8;
  // 100 MiB, of which there would be five; this process is not so large
  world.limits = { memoryBytes: 1_000 * MIB, detail: '' };
  world.rss = 400 * MIB;
  lasting();
  assert.ok(!events.some((event) => event.startsWith('multiply')), `${events}`);
});
