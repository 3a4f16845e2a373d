// SPDX-License-Identifier: Apache-2.0
// A worker that is stopped, under load that goes on: its siblings serve what it has not accepted, before it goes on, and
// when it does it has its share again within a second.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredBy, until } from './support/app';
import { figures, HOST, start, stolen, type Tree } from './support/balance';
import { goOn } from './support/scene';
import { acceptedBy, dropsAt, standStill, whyNoSockets } from './support/tcp-table';

const skip = whyNoSockets() ?? false;
const CLIENTS = 8;
/** Connections that come while it stands still. */
const MEANWHILE = 400;
/** Of so many one after the other a worker of two has half, and hardly ever less than a third. */
const SOME = 100;
const SHARE_MS = 1_000;
/** And so many have been answered: no more come in that time, where the machine has nothing else to do. */
const SHARE_OF = 2_000;
const ORIGIN_BLOCKED_MS = 10_000;

interface Visit {
  began: number;
  /** The client's; 0 until it is connected. */
  port: number;
  /** Who has answered; undefined: nobody yet, 0: it has failed. */
  by?: number;
  /** From connect() to the end of the answer, in milliseconds. */
  tookMs?: number;
}

/** Clients that ask all the time, each on a new connection as soon as it has its answer. */
class Load {
  /** In the order in which they began. */
  readonly visits: Visit[] = [];
  private readonly clients: Promise<void>[];
  private going = true;

  constructor(
    t: TestContext,
    private readonly to: number,
    clients = CLIENTS,
    private readonly path = '/other',
  ) {
    this.clients = Array.from({ length: clients }, () => this.client());
    t.after(() => this.stop());
  }

  private async client(): Promise<void> {
    while (this.going) await this.visit();
  }

  private async visit(): Promise<void> {
    const visit: Visit = { began: performance.now(), port: 0 };
    this.visits.push(visit);
    let text = '';
    const socket = connect(this.to, HOST, () => {
      visit.port = socket.localPort ?? 0;
      socket.write(`GET ${this.path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    });
    socket.on('data', (data) => {
      text += data;
    });
    await once(socket, 'close').catch(() => {});
    visit.tookMs = performance.now() - visit.began;
    visit.by = answeredBy(text) ?? 0;
  }

  /** Those that began in this time. */
  between(from: number, to = Number.POSITIVE_INFINITY): Visit[] {
    return this.visits.filter(({ began }) => began >= from && began < to);
  }

  async stop(): Promise<void> {
    this.going = false;
    await Promise.all(this.clients);
  }
}

const answered = (visits: readonly Visit[]): Visit[] => visits.filter(({ by }) => by !== undefined);

/** What those that came while it stood still have waited, in words. */
function waits(meanwhile: readonly Visit[], kept: ReadonlySet<number>): string {
  const ms = meanwhile
    .filter(({ port }) => !kept.has(port))
    .map(({ tookMs }) => tookMs ?? 0)
    .sort((a, b) => a - b);
  const at = (share: number) => ms[Math.ceil(ms.length * share) - 1]?.toFixed(1);
  return `${ms.length} came meanwhile, in ms: p50 ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`;
}

/** Stops a worker, and returns the load when all that it had not accepted, and much more, has been answered. */
async function stopped(t: TestContext, { port }: Tree, victim: number, load: () => Load): Promise<Load> {
  await standStill(victim);
  const from = performance.now();
  const kept = await acceptedBy(victim, port);
  const running = load();
  await until(() => answered(running.between(from)).length >= MEANWHILE, `${MEANWHILE} answers meanwhile`);
  const now = performance.now();
  const waiting = () =>
    running.between(0, now).filter((visit) => visit.by === undefined && !kept.has(visit.port));
  await until(
    () => waiting().length === 0,
    () => `${waiting().length} wait for the stopped worker`,
  );
  const meanwhile = running.between(from, now);
  assert.equal(meanwhile.filter(({ by }) => by === victim).length, 0, 'by its siblings');
  t.diagnostic(waits(meanwhile, kept));
  return running;
}

/** It goes on, and of what comes then it soon serves its share. Returns after how many ms it did. */
async function goesOn(victim: number, load: Load): Promise<number> {
  process.kill(victim, 'SIGCONT');
  const from = performance.now();
  let [its, all] = [0, 0];
  const took = () => performance.now() - from;
  await until(
    () => {
      const since = answered(load.between(from));
      all = since.length;
      its = since.slice(-SOME).filter(({ by }) => by === victim).length;
      return its > SOME / 3 || (took() > SHARE_MS && all > SHARE_OF);
    },
    () => `${its} of the last ${SOME} of ${all} are its own`,
  );
  assert.ok(its > SOME / 3, `${its} of the last ${SOME} of ${all} are its own after ${took()} ms`);
  return took();
}

for (const [what, idle, origin] of [
  ['busy', false, false],
  ['idle', true, false],
  ["busy, while the origin's own event loop is blocked", false, true],
] as const)
  test(`a worker is stopped while it is ${what}, and goes on`, { skip }, async (t) => {
    const tree = await start(t, origin ? { env: { BLOCK_ORIGIN: String(ORIGIN_BLOCKED_MS) } } : {});
    const [victim] = tree.workers as [number];
    t.after(() => goOn(victim));
    const before = origin ? 0 : stolen(await figures(tree));
    const running = idle ? undefined : new Load(t, tree.port);
    await until(() => !running || answered(running.visits).length > SOME, 'the load');
    if (origin) process.kill(tree.app.pid, 'SIGUSR2');
    const blocked = performance.now();
    if (idle || origin) await sleep(100);
    const load = await stopped(t, tree, victim, () => running ?? new Load(t, tree.port));
    if (!origin) assert.ok(stolen(await figures(tree)) > before, 'some had come to its queue');
    const backMs = await goesOn(victim, load);
    if (origin)
      assert.ok(performance.now() - blocked < ORIGIN_BLOCKED_MS - 500, 'all of that while it was blocked');
    await load.stop();
    const failed = load.visits.filter(({ by }) => by === 0);
    assert.equal(failed.length, 0, `of ${load.visits.length}`);
    t.diagnostic(`${load.visits.length} connections, its share again after ${backMs.toFixed(0)} ms`);
  });

test('a worker is stopped beside one that has more to do than it can', { skip }, async (t) => {
  const tree = await start(t);
  const [victim] = tree.workers as [number];
  t.after(() => goOn(victim));
  const running = new Load(t, tree.port, 32, '/block?5');
  await until(() => answered(running.visits).length > SOME, 'the load');
  const load = await stopped(t, tree, victim, () => running);
  process.kill(victim, 'SIGCONT');
  await load.stop();
  assert.equal(load.visits.filter(({ by }) => by === 0).length, 0, `of ${load.visits.length}`);
});

test('what the kernel drops while nobody can accept is counted', { skip }, async (t) => {
  const tree = await start(t, { env: { BACKLOG: '4' } });
  assert.deepEqual(
    (await figures(tree)).seats.map(({ drops }) => drops),
    [0, 0],
  );
  for (const worker of tree.workers) {
    t.after(() => goOn(worker));
    await standStill(worker);
  }
  const load = new Load(t, tree.port, 64);
  await until(async () => (await dropsAt(tree.port)) > 10, 'the queues run over');
  // they come again after a second or more: the kernel counts on
  const least = await dropsAt(tree.port);
  const { seats } = await figures(tree);
  const most = await dropsAt(tree.port);
  const drops = seats.reduce((sum, seat) => sum + seat.drops, 0);
  assert.ok(drops >= least && drops <= most, `${drops}, the kernel says ${least} to ${most}`);
  assert.ok(
    seats.every((seat) => seat.drops > 0),
    JSON.stringify(seats),
  );
  for (const worker of tree.workers) process.kill(worker, 'SIGCONT');
  await load.stop();
});
