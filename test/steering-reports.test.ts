// SPDX-License-Identifier: Apache-2.0
// Once connections are served where they arrive, each worker tells of its own CPU alone: half of the reports are no picture.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type ArrivalReport, ArrivalSampler } from '../lib/group/arrivals';
import type { ListenerGroup } from '../lib/group/listener-group';
import { Steering } from '../lib/group/steering';
import type { TcpHandle } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';

const START = 1_000;

function clock(t: TestContext): (ms: number) => void {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START });
  return (ms) => t.mock.timers.tick(ms);
}

/** Two workers on CPUs 0 and 1 that serve a group; collects what the steering says. */
function steered() {
  const said: string[] = [];
  const steering = new Steering('auto', [undefined, 0, 1], (why) => said.push(why));
  const group = {
    key: 'k',
    hasProgram: true,
    sockets: [7, 8, 9],
    steer: () => 0,
  } as unknown as ListenerGroup;
  const decide = () => steering.apply(group, [1, 2]);
  decide();
  /** `looked` of so many connections were looked at. */
  const report = (cpu: number, connections: number, looked = connections) =>
    steering.arrived([[cpu, connections, looked]], decide);
  return { said, report };
}

test('reports of one moment are looked at together, however the first of them looks', (t) => {
  const tick = clock(t);
  const { said, report } = steered();
  for (const count of [150, ...Array<number>(20).fill(600)]) {
    report(1, count);
    tick(40);
    report(0, count);
    tick(210);
  }
  assert.deepEqual(said, [
    'k: evenly over 2 workers: 0 of 200 arrivals seen',
    'k: by CPU, 100 % local: 300 arrivals on 2 CPUs, 0 of them shared',
  ]);
});

test('where one CPU does receive more than the other it still gives some away', (t) => {
  const tick = clock(t);
  const { said, report } = steered();
  report(0, 150);
  for (let round = 0; round < 20; round++) {
    report(1, 600);
    tick(250);
  }
  assert.match(said.at(-1) ?? '', /1 of them shared/);
});

/** Workers on CPU 0 that accept; `cpuOf` says where the nth connection that is looked at has arrived. */
function sampled(cpuOf: (nth: number) => number) {
  let asked = 0;
  const addon = { incomingCpu: () => cpuOf(asked++) } as unknown as Addon;
  const reports: [at: number, report: ArrivalReport][] = [];
  const client = {
    fd: 5,
    getsockname: (name: object) => {
      Object.assign(name, { address: '10.0.0.1' });
      return 0;
    },
  };
  const worker = () => {
    const handle = { onconnection: () => {} } as unknown as TcpHandle;
    const sampler = new ArrivalSampler(
      addon,
      () => 0,
      (report) => reports.push([Date.now() - START, report]),
    );
    sampler.attach(handle, { sees: true, ticks: false });
    return () => handle.onconnection(0, client as unknown as TcpHandle);
  };
  return { worker, reports, asked: () => asked };
}

test('workers report at the same moments, whenever their first connection came', (t) => {
  const tick = clock(t);
  const { worker, reports } = sampled(() => 0);
  const [first, second] = [worker(), worker()];
  tick(30);
  first();
  tick(90);
  second();
  first();
  tick(130);
  assert.deepEqual(reports, [
    [250, { cpus: [[0, 2, 2]], local: 2, remote: 0 }],
    [250, { cpus: [[0, 1, 1]], local: 1, remote: 0 }],
  ]);
});

test('most connections are not looked at, and all are counted', (t) => {
  const tick = clock(t);
  const { worker, reports, asked } = sampled((nth) => nth % 2);
  const accept = worker();
  const accepted = 10_000;
  for (let i = 0; i < accepted; i++) accept();
  assert.equal(asked(), 2_500);
  tick(250);
  const half = accepted / 2;
  assert.deepEqual(reports[0]?.[1], {
    cpus: [
      [0, half, 1_250],
      [1, half, 1_250],
    ],
    local: half,
    remote: half,
  });
});

test('a worker that looks at few of its connections does not seem to receive less than one that looks at all', (t) => {
  const tick = clock(t);
  const { said, report } = steered();
  for (let i = 0; i < 30; i++) {
    report(0, 640, 40);
    report(1, 640);
    tick(250);
  }
  assert.equal(said.at(-1), 'k: by CPU, 100 % local: 301 arrivals on 2 CPUs, 0 of them shared');
});

test('few that stand for many are few: they are no picture', (t) => {
  const tick = clock(t);
  const { said, report } = steered();
  for (let i = 0; i < 4; i++) {
    report(0, 320, 20);
    report(1, 320, 20);
    tick(250);
  }
  assert.deepEqual(said, ['k: evenly over 2 workers: 0 of 200 arrivals seen']);
  report(0, 640, 40);
  report(1, 640, 40);
  tick(250);
  assert.match(said.at(-1) ?? '', /^k: by CPU, 100 % local: 240 arrivals/);
});
