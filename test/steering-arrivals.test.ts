// SPDX-License-Identifier: Apache-2.0
// What is remembered of the arrivals is enough for as many workers as the settings allow, whoever was restarted, and no more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dice, fraction } from '../bench/simulation/random';
import { MAX_WORKERS } from '../lib/config/settings';
import type { ListenerGroup } from '../lib/group/listener-group';
import { Steering } from '../lib/group/steering';
import { ArrivalPicture, type Arrivals, samplesNeeded, standsForConnections } from '../lib/steering/arrivals';
import { decide } from '../lib/steering/policy';

const COUNTS = Array.from({ length: MAX_WORKERS - 1 }, (_, i) => i + 2);
/** Around where the half-life changes its rule, where 4,000 and 8,000 would not do, and the ends. */
const SOME = [2, 3, 8, 55, 56, 57, 64, 128, 250, 251, 500, 501, MAX_WORKERS];
/** Of a process that looks at few of its connections (SPARSE in lib/steering/arrivals.ts). */
const STANDS_FOR = 16;

/** Accepts at a pace of its own; says what it has looked at since it was asked last, as one report of its CPU. */
class Accepting {
  private seen = 0;

  constructor(readonly cpu: number) {}

  report(accepted: number): Arrivals[] {
    let connections = 0;
    let looked = 0;
    for (let i = 0; i < accepted; i++) {
      const stands = standsForConnections(++this.seen);
      connections += stands;
      if (stands > 0) looked++;
    }
    return looked > 0 ? [[this.cpu, connections, looked]] : [];
  }
}

test('however many workers there are and whichever part of them was restarted: known, and for good', () => {
  for (const workers of COUNTS)
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const picture = new ArrivalPicture(workers);
      const fresh = Math.round(part * workers);
      const each = 2 * STANDS_FOR;
      const round: Arrivals[] = [
        [0, fresh * each, fresh * each],
        [1, (workers - fresh) * each, (workers - fresh) * 2],
      ];
      let wasKnown = false;
      for (let connections = 0; connections < 400_000 + 4_000 * workers; connections += each * workers) {
        picture.add(round);
        const known = picture.samples >= samplesNeeded(workers);
        assert.ok(known || !wasKnown, `${workers} workers, ${fresh} of them restarted: it is forgotten`);
        wasKnown = known;
      }
      assert.ok(wasKnown, `${workers} workers, ${fresh} of them restarted: never known`);
    }
});

test('from the start until all look at few of theirs, and through restarts of some and of all', () => {
  for (const workers of SOME) {
    const random = dice(workers);
    const picture = new ArrivalPicture(workers);
    const crew = Array.from({ length: workers }, (_, i) => new Accepting(i));
    let wasKnown = false;
    const serve = (connectionsEach: number): void => {
      for (let served = 0; served < connectionsEach; served += 100) {
        picture.add(crew.flatMap((worker) => worker.report(Math.round(200 * fraction(random)))));
        const known = picture.samples >= samplesNeeded(workers);
        assert.ok(known || !wasKnown, `${workers} workers, after ${served} connections of each`);
        wasKnown = known;
      }
    };
    const restart = (part: number): void => {
      for (let i = 0; i < part * workers; i++) crew[i] = new Accepting(i);
    };
    serve(5_000);
    assert.ok(wasKnown, `${workers} workers`);
    for (const part of [0.5, 1, 0.1]) {
      restart(part);
      serve(3_000);
    }
    const { kind, note } = decide({
      mode: 'auto',
      workers: crew.map(({ cpu }) => ({ index: cpu + 1, cpu, live: true })),
      arrivals: picture.connections,
      samples: picture.samples,
      seats: workers + 1,
    });
    assert.equal(kind, 'cpu', note);
  }
});

test('the steering remembers enough for the workers that it steers to', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const indices = Array.from({ length: 600 }, (_, i) => i + 1);
  const said: string[] = [];
  const steering = new Steering('auto', [undefined, ...indices], (why) => said.push(why));
  const sockets = [0, ...indices];
  const group = { key: 'k', hasProgram: true, sockets, steer: () => 0 } as unknown as ListenerGroup;
  const report = (each: number): void => {
    steering.arrived(
      indices.map((cpu): Arrivals => [cpu, each, each]),
      () => steering.apply(group, indices),
    );
    t.mock.timers.tick(1_000);
  };
  for (let i = 0; i < 4; i++) report(5);
  assert.match(said.at(-1) ?? '', /^k: by CPU, 100 % local: 12000 arrivals on 600 CPUs/);
});

/** So many looked at after all connections have begun to come to another CPU, that one is half of the picture. */
function followed(workers: number, standsFor: number): number {
  const picture = new ArrivalPicture(workers);
  for (let looked = 0; looked < 10_000 + 300 * workers; looked += 10) picture.add([[0, 10 * standsFor, 10]]);
  let looked = 0;
  while ((picture.connections[1] ?? 0) < (picture.connections[0] ?? 0)) {
    looked += 10;
    picture.add([[1, 10 * standsFor, 10]]);
  }
  return looked;
}

test('a change of the machine is followed: within 4,000 looks, and for each worker no later the more they are', () => {
  for (const standsFor of [1, STANDS_FOR]) {
    let each = Number.POSITIVE_INFINITY;
    for (const workers of SOME) {
      const looked = followed(workers, standsFor);
      const most = workers <= 55 ? 4_000 : 72.25 * workers;
      assert.ok(Math.abs(looked - most) <= 20, `${workers} workers: ${looked}`);
      assert.ok(looked / workers <= each + 1);
      each = looked / workers;
    }
  }
});

test('a report that stands for far more than it can is forgotten', () => {
  const picture = new ArrivalPicture(2);
  picture.add([[0, 1e9, 1]]);
  assert.ok(picture.samples < 2);
  for (let looked = 0; looked < 200_000; looked += 100) picture.add([[1, 100, 100]]);
  assert.ok(picture.samples >= 4_000);
});
