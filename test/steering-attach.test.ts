// SPDX-License-Identifier: Apache-2.0
// Where clients stay with their worker by their address: what is decided, and which program is attached.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ListenerGroup } from '../lib/group/listener-group';
import { Steering } from '../lib/group/steering';
import { type Decision, decide } from '../lib/steering/policy';

const ENOMEM = -12;

/** A group of three workers whose kernel answers with `answer(nth attempt)`; what is attached to it, and what is said of it. */
function groupOf(answer: (attempt: number) => number = () => 0, hasProgram = true) {
  const attached: Uint8Array[] = [];
  const group = {
    key: 'k',
    hasProgram,
    refused: hasProgram ? 0 : -1,
    sockets: [6, 7, 8, 9],
    steer: (program: Uint8Array) => answer(attached.push(program)),
    giveUpProgram: (refused: number) => Object.assign(group, { hasProgram: false, refused }),
  };
  return { group: group as unknown as ListenerGroup, attached };
}

function steering() {
  const said: string[] = [];
  return { said, steering: new Steering('ip', [undefined, 0, 1, 2], (why) => said.push(why)) };
}

test('by the address over all seats, dead ones keep theirs; changed when another worker lives', () => {
  const ask = (live: readonly number[], previous?: Decision) => {
    const workers = [1, 2, 3, 4].map((index) => ({ index, cpu: index - 1, live: live.includes(index) }));
    return decide({ mode: 'ip', workers, arrivals: [5000, 1], seats: 5, previous });
  };
  const first = ask([1, 3, 4]);
  assert.deepEqual(
    [first.kind, first.table, first.changed, first.note],
    ['address', { workers: 4, live: [1, 3, 4] }, true, "by the client's address, 3 of 4 workers live"],
  );
  const same = ask([1, 3, 4], first);
  assert.deepEqual([same.table, same.changed], [first.table, false]);
  const all = ask([1, 2, 3, 4], same);
  assert.deepEqual([all.table, all.changed], [{ workers: 4, live: [1, 2, 3, 4] }, true]);
  const none = ask([], all);
  assert.deepEqual([none.kind, none.changed], ['origin', true]);
  const again = ask([1, 2, 3, 4], none);
  assert.deepEqual([again.kind, again.changed], ['address', true]);
});

test('one seed for all groups of a process, another for another process', () => {
  const [one, other] = [steering(), steering()];
  const groups = [groupOf(), groupOf(), groupOf()] as const;
  one.steering.apply(groups[0].group, [1, 2, 3]);
  one.steering.apply(groups[1].group, [1, 2, 3]);
  other.steering.apply(groups[2].group, [1, 2, 3]);
  assert.deepEqual(groups[0].attached, groups[1].attached);
  assert.notDeepEqual(groups[0].attached, groups[2].attached);
  assert.deepEqual(one.said[0], "k: by the client's address, 3 of 3 workers live");
});

test('a program is attached when a worker comes or goes, and at no other time', () => {
  const { said, steering: one } = steering();
  const { group, attached } = groupOf();
  for (const live of [[], [1, 2, 3], [3, 2, 1], [1, 3], [1, 3], [1, 2, 3]]) one.apply(group, live);
  assert.equal(attached.length, 4);
  assert.deepEqual(attached[1], attached[3], 'back to what it was');
  assert.deepEqual(
    said.map((line) => /\d of/.exec(line)?.[0]),
    [undefined, '3 of', '2 of', '3 of'],
  );
});

test('what is too large for the kernel becomes smaller, and is sticky still', () => {
  const { said, steering: one } = steering();
  const { group, attached } = groupOf((attempt) => (attempt < 3 ? ENOMEM : 0));
  one.apply(group, [1, 3]);
  assert.equal(attached.length, 3);
  assert.equal(said[1], 'k: the whole program is too large for the kernel, coarser by 2');
});

test('without a program it is said once that nobody is sticky, and why', () => {
  const refused = steering();
  const { group, attached } = groupOf(undefined, false);
  for (const live of [[1], [1, 2]]) refused.steering.apply(group, live);
  const why = (errno: number) =>
    `k: not by the client's address: the kernel takes no steering program (errno ${errno})`;
  assert.deepEqual([refused.said, attached], [[why(1)], []]);

  const full = steering();
  const later = groupOf(() => ENOMEM);
  for (const live of [
    [1, 3],
    [1, 2, 3],
  ])
    full.steering.apply(later.group, live);
  assert.equal(full.said.at(-1), why(12));
  assert.equal(full.said.filter((line) => line === why(12)).length, 1);
});
