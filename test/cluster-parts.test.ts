// SPDX-License-Identifier: Apache-2.0
// The parts of lib/cluster that need no process: numbers, sockets that are left over, who is served by the primary.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Giving, SERVES_WITHIN_MS } from '../lib/cluster/giving';
import { Leftovers } from '../lib/cluster/leftovers';
import type { Member } from '../lib/cluster/members';
import { PlainUsers } from '../lib/cluster/plain-users';
import { roundRobinReason } from '../lib/cluster/plan';
import { Seats, seatCount } from '../lib/cluster/seats';
import { SURPLUS_MS } from '../lib/cluster/surplus';
import { Cpus } from '../lib/cpu/cpus';
import type { ListenerGroup } from '../lib/group/listener-group';
import { nameOf } from '../lib/group/name';
import type { Addon } from '../lib/native/addon';
import { LEAVE_MS } from '../lib/workers/lifecycle';

/** What is done with descriptors, in words. */
function noting(): { addon: Addon; said: string[] } {
  const said: string[] = [];
  const addon = {
    close: (fd: number) => said.push(`close ${fd}`),
    shutdownRead: (fd: number) => said.push(`shut ${fd}`),
  };
  return { addon: addon as unknown as Addon, said };
}

interface Fake {
  generation: number;
  port: number;
  key: string;
  closing: boolean;
  sockets: number[];
  holders: Set<number>;
  letGo: Set<number>;
  ready: Set<number>;
  workerEnded(index: number): void;
}

/** Sockets 100 (the primary's), 101, ... */
function group(workers: number, generation = 1): Fake & ListenerGroup {
  const fake: Fake = {
    generation,
    port: 80,
    key: `group ${generation}`,
    closing: false,
    sockets: Array.from({ length: workers + 1 }, (_, i) => 100 + i),
    holders: new Set(),
    letGo: new Set(),
    ready: new Set(),
    workerEnded: (index) => fake.holders.delete(index),
  };
  return fake as Fake & ListenerGroup;
}

test('the lowest free number is given', () => {
  const seats = new Seats();
  assert.deepEqual([seats.take(), seats.take(), seats.take()], [1, 2, 3]);
  seats.free(2);
  assert.deepEqual([seats.take(), seats.take()], [2, 4]);
  const after = new Seats(3);
  assert.deepEqual([after.take(), after.take()], [3, 4], 'the first two are those of copies');
});

test('a CPU is one worker’s, and the next one’s when that has ended', () => {
  const cpus = new Cpus(
    [
      { cpu: 4, node: 0 },
      { cpu: 6, node: 1 },
    ],
    8,
  );
  assert.deepEqual([cpus.take(1), cpus.take(2), cpus.take(3)], [4, 6, undefined]);
  assert.equal(cpus.take(2), 6, 'it has one');
  assert.deepEqual(cpus.nodes.slice(0, 4), [undefined, 0, 1, undefined]);
  cpus.free(1);
  assert.equal(cpus.take(3), 4);
  assert.deepEqual(cpus.cores.slice(0, 4), [undefined, undefined, 6, 4]);
  assert.deepEqual(cpus.nodes.slice(0, 4), [undefined, undefined, 1, 0]);
  assert.equal(new Cpus([], 8).take(1), undefined, 'nobody is pinned');
});

test('other CPUs: whoever can keep its own does, and of those that there are the first get the rest', () => {
  const places = (...list: number[]) => list.map((cpu) => ({ cpu, node: cpu % 2 }));
  const cpus = new Cpus(places(4, 5, 6), 4);
  assert.deepEqual([cpus.take(1), cpus.take(2), cpus.take(3), cpus.take(4)], [4, 5, 6, undefined]);
  cpus.become(places(8, 6, 9), [2, 3, 4]);
  assert.deepEqual(cpus.cores, [undefined, undefined, 8, 6, 9], 'the first is not asked for any more');
  assert.deepEqual(cpus.nodes, [undefined, undefined, 0, 0, 1]);
  cpus.become(places(), [2, 3, 4]);
  assert.deepEqual(cpus.cores, new Array(5).fill(undefined), 'nobody is pinned');
  cpus.become(places(4, 5), [2, 3, 4]);
  assert.deepEqual(cpus.cores, [undefined, undefined, 4, 5, undefined]);
  assert.equal(cpus.take(1), undefined, 'and of the old ones there are none');
});

test('there are sockets for twice the workers and twice the CPUs, eight at least', () => {
  assert.equal(seatCount(2, 2), 8);
  assert.equal(seatCount(6, 4), 12);
  assert.equal(seatCount(1, 64), 128);
  assert.equal(seatCount(5_000, 64), 1_024);
});

test('one address has one name, whoever says it', () => {
  const named = (family: string, address: string) => ({
    getsockname: (out: object) => {
      Object.assign(out, { family, address, port: 80 });
      return 0;
    },
  });
  assert.equal(nameOf(named('IPv4', '127.0.0.1')), '4|127.0.0.1|80');
  assert.equal(nameOf(named('IPv6', '::')), '6|::|80');
  assert.equal(nameOf({ getsockname: () => -9 }), undefined);
  assert.equal(nameOf({}), undefined, 'a Unix socket');
});

test('one worker is asked for: round robin', () => {
  assert.match(roundRobinReason({ workers: { kind: 'count', n: 1 } }) ?? '', /FASTSOCKET_WORKERS=1/);
  assert.equal(roundRobinReason({ workers: { kind: 'count', n: 2 } }), undefined);
  assert.equal(roundRobinReason({ workers: { kind: 'auto' } }), undefined);
});

test('the primary serves a group while any of its workers needs it', () => {
  const plain = new PlainUsers();
  const [one, other] = [group(2, 1), group(2, 2)];
  plain.add(7, one);
  plain.add(8, one);
  assert.deepEqual([plain.uses(one), plain.uses(other)], [true, false]);
  plain.left(7, one);
  assert.equal(plain.uses(one), true);
  plain.left(8, one);
  assert.equal(plain.uses(one), false);
  plain.addAll(other);
  plain.left(7, other);
  assert.equal(plain.uses(other), true);
  plain.closed(other);
  assert.equal(plain.uses(other), false);
});

describe('sockets of a group that has closed', () => {
  const closed = (t: import('node:test').TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { addon, said } = noting();
    const leftovers = new Leftovers(addon);
    const its = group(4);
    its.holders.add(1).add(3);
    leftovers.add(its);
    const unheld = ['shut 102', 'close 102', 'shut 104', 'close 104'];
    assert.deepEqual(said.splice(0), unheld, 'nobody serves these, and who has helped may have kept them');
    assert.deepEqual(its.sockets, [100], "the primary's own is Node's to close");
    return { leftovers, said };
  };

  test('are closed when their workers have left', (t) => {
    const { leftovers, said } = closed(t);
    leftovers.dropped(3, 99);
    assert.deepEqual(said, [], 'of another group');
    leftovers.dropped(3, 1);
    leftovers.dropped(1);
    assert.deepEqual(said, ['shut 103', 'close 103', 'shut 101', 'close 101']);
    t.mock.timers.tick(LEAVE_MS);
    leftovers.freePort(80);
    assert.equal(said.length, 4);
  });

  test('are ended where the port is wanted', (t) => {
    const { leftovers, said } = closed(t);
    leftovers.freePort(81);
    assert.deepEqual(said, []);
    leftovers.freePort(80);
    assert.deepEqual(said, ['shut 101', 'close 101', 'shut 103', 'close 103']);
  });

  test('are ended after a while', (t) => {
    const { said } = closed(t);
    t.mock.timers.tick(LEAVE_MS - 1);
    assert.deepEqual(said, []);
    t.mock.timers.tick(1);
    assert.deepEqual(said, ['shut 101', 'close 101', 'shut 103', 'close 103']);
  });
});

describe('workers are given sockets', () => {
  const giver = (its: Fake & ListenerGroup, free?: readonly number[]) => {
    const seats = new Seats();
    const said: string[] = [];
    const live: Member[] = [];
    const members = {
      get given() {
        return live.filter(({ process: child }) => child.connected);
      },
      tell: (member: Member, { kind, core, free: all }: { kind: string; core?: number; free?: number[] }) =>
        said.push(`worker ${member.id}: ${kind} ${core}${all ? `, else ${all}` : ''}`),
      seat: (member: Member) => {
        member.index ||= seats.take();
        return member.index;
      },
      leaveSeat: (member: Member) => {
        seats.free(member.index);
        member.index = 0;
      },
      hand: (member: Member, body: { index: number; cpu?: number; free?: number[] }, fds: number[]) => {
        member.handed = true;
        live.push(member);
        const place = body.cpu === undefined ? '' : `, CPU ${body.cpu}`;
        const all = body.free ? `, else ${body.free}` : '';
        said.push(`worker ${member.id}: ${fds} as ${body.index}${place}${all}`);
        return undefined;
      },
    };
    const groups = {
      handover: (index: number) => {
        its.holders.add(index);
        return { fds: [its.sockets[index]] };
      },
      [Symbol.iterator]: () => [its][Symbol.iterator](),
    };
    const places = [
      { cpu: 4, node: 0 },
      { cpu: 6, node: 0 },
    ];
    const cpus = new Cpus(places, 8);
    const giving = new Giving({
      plan: { addon: noting().addon, first: 1, cpus } as never,
      groups: groups as never,
      members: members as never,
      balancer: { seat: () => [], placed: () => {} } as never,
      free: () => free,
      failed: (member, _group, why) => said.push(`worker ${member.id}: ${why}`),
      crowded: () => said.push('crowded'),
    });
    const ended = (member: Member) => {
      its.holders.delete(member.index);
      seats.free(member.index);
      live.splice(live.indexOf(member), 1);
      giving.ended(member);
    };
    return { giving, said, ended };
  };
  const member = (id: number): Member =>
    ({ id, index: 0, seated: false, asked: new Set(), process: { connected: true } }) as unknown as Member;

  test('each its own, with a CPU while there are any', () => {
    const its = group(3);
    const { giving, said } = giver(its);
    for (const id of [11, 12, 13]) giving.give(member(id), its);
    assert.deepEqual(said, [
      'worker 11: 101 as 1, CPU 4',
      'worker 12: 102 as 2, CPU 6',
      'worker 13: 103 as 3',
    ]);
  });

  test('where the CPUs have changed, with those that all else may use', () => {
    const its = group(3);
    const { giving, said, ended } = giver(its, [4, 6]);
    const first = member(11);
    for (const one of [first, member(12), member(13)]) giving.give(one, its);
    ended(first);
    assert.deepEqual(said, [
      'worker 11: 101 as 1, CPU 4, else 4,6',
      'worker 12: 102 as 2, CPU 6, else 4,6',
      'worker 13: 103 as 3',
      'worker 13: place 4, else 4,6',
    ]);
  });

  test('and a CPU later, when whoever has had it has ended: the first first', () => {
    const its = group(6);
    const { giving, said, ended } = giver(its);
    const all = [11, 12, 13, 14, 15].map(member) as [Member, Member, Member, Member, Member];
    for (const each of all) giving.give(each, its);
    said.splice(0);
    // it is on its way out itself
    Object.assign(all[2].process, { connected: false });
    ended(all[1]);
    ended(all[0]);
    assert.deepEqual(said, ['worker 14: place 6', 'worker 15: place 4']);
    giving.give(member(16), its);
    assert.equal(said.pop(), 'worker 16: 101 as 1', 'both are taken');
    ended(all[3]);
    assert.equal(said.pop(), 'worker 16: place 6');
  });

  test('as long as there are any, and later when one is free', () => {
    const its = group(2);
    const { giving, said, ended } = giver(its);
    const [first, second, third] = [11, 12, 13].map(member) as [Member, Member, Member];
    for (const each of [first, second, third]) giving.give(each, its);
    assert.equal(said.pop(), 'worker 13: there are 2 sockets for workers');
    ended(second);
    assert.equal(said.pop(), 'worker 13: 102 as 2, CPU 6');
    ended(first);
    assert.equal(said.length, 2, 'nobody waits any more');
  });

  test('where they are more than CPUs for long that is said, and where one ends in time it is not', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const its = group(6);
    const { giving, said, ended } = giver(its);
    const [first, second, third, fourth] = [11, 12, 13, 14].map(member) as [Member, Member, Member, Member];
    const give = (each: Member) => {
      giving.give(each, its);
      its.ready.add(each.index);
      said.splice(0);
    };
    for (const each of [first, second]) give(each);
    t.mock.timers.tick(10 * SURPLUS_MS);
    assert.deepEqual(said, [], 'there is one for each');
    give(third);
    t.mock.timers.tick(SURPLUS_MS - 1);
    ended(first);
    give(fourth);
    t.mock.timers.tick(SURPLUS_MS - 1);
    assert.deepEqual(said, [], 'there was one for each in between');
    t.mock.timers.tick(1);
    assert.deepEqual(said, ['crowded']);
    t.mock.timers.tick(10 * SURPLUS_MS);
    assert.deepEqual(said, ['crowded'], 'once');
    ended(second);
    assert.equal(said.pop(), 'worker 14: place 6');
  });

  test('and have to serve soon', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const its = group(3);
    const { giving, said } = giver(its);
    for (const id of [11, 12, 13]) giving.give(member(id), its);
    its.ready.add(1);
    its.letGo.add(2);
    said.splice(0);
    t.mock.timers.tick(SERVES_WITHIN_MS - 1);
    assert.deepEqual(said, []);
    t.mock.timers.tick(1);
    assert.deepEqual(said, [`worker 13: not within ${SERVES_WITHIN_MS} ms`]);
  });
});
