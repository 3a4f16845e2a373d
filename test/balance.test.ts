// SPDX-License-Identifier: Apache-2.0
// A worker that cannot serve: what waits for it, and what comes meanwhile, is served by its siblings.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredBy, freePort, request, until } from './support/app';
import { block, type Figures, figures, HOST, start, stolen } from './support/balance';

/** Between two looks at a picture that stays the same (kSeldom in native/balance/judge.cc). */
const SELDOM_MS = 20;

interface Asked {
  by: Map<number, number>;
  failed: number;
}

/** `count` short connections, some at a time: who has served them. */
async function askMany(port: number, count: number, atATime = 20): Promise<Asked> {
  const by = new Map<number, number>();
  let failed = 0;
  let left = count;
  async function one(): Promise<void> {
    while (left-- > 0) {
      const pid = await request(port, '/', HOST).then(answeredBy, () => undefined);
      if (pid === undefined) failed++;
      else by.set(pid, (by.get(pid) ?? 0) + 1);
    }
  }
  await Promise.all(Array.from({ length: atATime }, one));
  return { by, failed };
}

test('a blocked worker: siblings serve what comes', async (t) => {
  const tree = await start(t);
  const { swaps } = await figures(tree);
  const blocked = await block(tree);
  const { by, failed } = await askMany(tree.port, 400);
  assert.equal(failed, 0);
  assert.deepEqual(
    [...by.keys()],
    tree.workers.filter((pid) => pid !== blocked),
  );
  const now = await figures(tree);
  assert.ok(stolen(now) > 0, JSON.stringify(now));
  assert.ok(now.swaps > swaps, 'it is steered around');
  assert.deepEqual(
    now.seats.map((seat) => seat.taken),
    now.seats.map((seat) => seat.stolen).reverse(),
    'each says whom it was taken from',
  );
  await tree.app.said(/balancing: worker \d is blocked: new connections are steered around it/);
  t.diagnostic(`${stolen(now)} of 400 were stolen, ${now.offers} offers, ${now.looks} looks`);
});

test("a stolen connection is the thief's own: its server, its context, its peer", async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_BALANCE: 'steal' } });
  await block(tree);
  const seen = await Promise.all(
    Array.from({ length: 60 }, async () => {
      const socket = connect(tree.port, HOST);
      await once(socket, 'connect');
      const { localPort } = socket;
      socket.write('GET /who HTTP/1.1\r\nHost: x\r\n\r\n');
      let text = '';
      socket.on('data', (data) => {
        text += data;
      });
      await once(socket, 'close');
      const what = JSON.parse(/^X-Seen: (.*)\r$/m.exec(text)?.[1] ?? '') as [number, boolean];
      return { what, localPort, context: /^X-Context: (.*)\r$/m.exec(text)?.[1] };
    }),
  );
  assert.ok(stolen(await figures(tree)) > 10);
  for (const { what, localPort, context } of seen)
    assert.deepEqual({ what, context }, { what: [localPort, true], context: 'listening' });
});

test('what comes to a worker that is known to be blocked wakes the thread: it is not waited for', async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_BALANCE: 'steal' } });
  await block(tree);
  const before = await figures(tree);
  // one at a time: each finds the queue empty, but for some that are there before the thread waits for them
  const { failed } = await askMany(tree.port, 200, 1);
  assert.equal(failed, 0);
  const now = await figures(tree);
  const [woken, taken] = [now.woken - before.woken, stolen(now) - stolen(before)];
  assert.ok(taken > 50 && woken > taken / 5, `${woken} of ${taken}`);
});

test('the control: without balancing they wait', async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_BALANCE: 'off' } });
  await block(tree);
  const sockets: Socket[] = [];
  let answered = 0;
  for (let i = 0; i < 40; i++) {
    const socket = connect(tree.port, HOST, () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    socket.on('error', () => {});
    socket.once('data', () => answered++);
    sockets.push(socket);
  }
  await until(() => answered > 4, 'answers of the other one');
  await sleep(1_000);
  assert.ok(answered < 36, `${answered} of 40`);
  for (const socket of sockets) socket.destroy();
});

for (const [pieces, steals, swaps] of [
  ['steal', true, false],
  ['swap', false, true],
] as const) {
  test(`FASTSOCKET_BALANCE=${pieces} alone`, async (t) => {
    const tree = await start(t, { env: { FASTSOCKET_BALANCE: pieces } });
    await block(tree);
    // one at a time: some are given to the blocked one before it is excluded, and wait
    const late = askMany(tree.port, 60, 60);
    await Promise.race([late, sleep(1_000)]);
    const isDone = (now: Figures) => (steals ? stolen(now) > 0 : now.swaps > 0);
    await until(async () => isDone(await figures(tree)), 'what it does');
    const now = await figures(tree);
    assert.equal(stolen(now) > 0, steals, JSON.stringify(now));
    assert.equal(now.swaps > 0, swaps, JSON.stringify(now));
    if (steals) assert.equal((await late).failed, 0);
  });
}

test('it comes back, and has its share again', async (t) => {
  const tree = await start(t);
  const blocked = await block(tree, 1_500);
  const { failed } = await askMany(tree.port, 200);
  assert.equal(failed, 0);
  await tree.app.said(/balancing: worker \d is back after \d+ ms/);
  await until(
    async () => ((await askMany(tree.port, 200, 4)).by.get(blocked) ?? 0) > 60,
    'a third of the connections, or more',
  );
});

test("the origin's own event loop is blocked meanwhile", async (t) => {
  const tree = await start(t, { env: { BLOCK_ORIGIN: '10000' } });
  const blocked = await block(tree);
  process.kill(tree.app.pid, 'SIGUSR2');
  await sleep(50);
  const began = performance.now();
  const { by, failed } = await askMany(tree.port, 200);
  assert.equal(failed, 0);
  assert.ok(!by.has(blocked));
  assert.ok(performance.now() - began < 9_500, 'while it was blocked');
});

test('a server with maxConnections accepts from its own queue alone', async (t) => {
  const tree = await start(t, { env: { MAX: '1000' } });
  await block(tree);
  void askMany(tree.port, 60, 60);
  await sleep(1_000);
  const now = await figures(tree);
  assert.equal(stolen(now), 0, JSON.stringify(now));
});

test('siblings that decline what they are offered are no reason to look often', async (t) => {
  const tree = await start(t, { env: { MAX: '1000' } });
  await block(tree);
  void askMany(tree.port, 60, 60);
  const declined = ({ seats }: Figures): number => seats.reduce((sum, seat) => sum + seat.declined, 0);
  let before = await figures(tree);
  let looks = 0;
  // before long: where it has no CPU the thread's own time goes on more slowly
  await until(
    async () => {
      const began = performance.now();
      await sleep(500);
      const now = await figures(tree);
      looks = now.looks - before.looks;
      const most = (performance.now() - began) / SELDOM_MS + 5;
      const seldom = declined(now) > declined(before) && looks <= most;
      before = now;
      return seldom;
    },
    () => `${looks} looks within half a second`,
  );
});

for (const max of ['getter', 'inherited']) {
  test(`nothing of the app's runs in a turn of the seam's: maxConnections is a getter (${max})`, async (t) => {
    const tree = await start(t, { env: { MAX: max, FASTSOCKET_BALANCE: 'steal' } });
    await block(tree);
    const asked = Array.from({ length: 60 }, () => request(tree.port, '/stats', HOST).catch(() => ''));
    await sleep(1_000);
    await until(async () => (await figures(tree)).offers > 0, 'an offer');
    const now = await figures(tree);
    assert.equal(stolen(now), 0, JSON.stringify(now));
    const answer = (await Promise.any(asked.map(async (each) => (await each) || Promise.reject()))) as string;
    assert.match(answer, /"asked":0,/);
  });
}

test('two ports: what waits on the second is served, too', async (t) => {
  const second = await freePort(HOST);
  const tree = await start(t, { env: { SECOND: String(second), FASTSOCKET_BALANCE: 'steal' } });
  await tree.app.said(new RegExp(`worker 1 is ready on \\S+\\|${second}`));
  await tree.app.said(new RegExp(`worker 2 is ready on \\S+\\|${second}`));
  const blocked = await block(tree);
  const asked = await Promise.all([askMany(tree.port, 100), askMany(second, 100)]);
  for (const { by, failed } of asked) {
    assert.equal(failed, 0);
    assert.ok(!by.has(blocked));
  }
});

/** Keeps a CPU to itself for so long, ahead of everybody, where that is allowed. */
async function hog(cpu: number, ms: number): Promise<boolean> {
  const child = spawn('chrt', [
    ...['-f', '50', 'taskset', '-c', String(cpu), process.execPath, '-e'],
    `for (const end = performance.now() + ${ms}; performance.now() < end;);`,
  ]);
  const [status] = await once(child, 'close');
  return status === 0;
}

test('a worker that had no CPU for a while has its share again at once', async (t) => {
  const tree = await start(t);
  if (!(await hog(0, 1))) return t.skip('no real-time priority');
  const [, second] = tree.workers as [number, number];
  const cpu = Number(
    /^Cpus_allowed_list:\s+(\d+)$/m.exec(readFileSync(`/proc/${second}/status`, 'utf8'))?.[1],
  );
  const back = () =>
    [...tree.app.stderr.matchAll(/worker 2 is back after (\d+) ms/g)].map(([, ms]) => Number(ms));
  for (let round = 0; round < 8; round++) {
    // it sleeps, and hears of nothing but new connections
    const load = askMany(tree.port, 200, 1);
    await hog(cpu, 30);
    assert.equal((await load).failed, 0);
  }
  await askMany(tree.port, 200, 1);
  t.diagnostic(`back after ${back()} ms`);
  assert.ok(
    back().every((ms) => ms < 1_000),
    `${back()}`,
  );
  const { by } = await askMany(tree.port, 100, 2);
  assert.ok((by.get(second) ?? 0) > 10, `${[...by]}`);
});

test('a worker that is killed while others wait for it: nobody is lost', async (t) => {
  const tree = await start(t);
  const blocked = await block(tree);
  const load = askMany(tree.port, 400);
  process.kill(blocked, 'SIGKILL');
  assert.equal((await load).failed, 0);
});

test('without the seam there is no stealing, and the log says why', async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_SEAM: 'off' } });
  await tree.app.said(/no other worker helps this one/);
  const { failed } = await askMany(tree.port, 100);
  assert.equal(failed, 0);
  assert.ok((await figures(tree)).seats.every(({ joined }) => joined === 0));
});

test('nobody wakes while nothing comes', async (t) => {
  const tree = await start(t);
  await askMany(tree.port, 50);
  const tasks = `/proc/${tree.app.pid}/task`;
  const thread = readdirSync(tasks).find(
    (task) => readFileSync(`${tasks}/${task}/comm`, 'utf8') === 'fastsocket\n',
  );
  assert.ok(thread, 'the thread has a name');
  const switches = () => {
    const status = readFileSync(`${tasks}/${thread}/status`, 'utf8');
    return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  };
  let woken = 0;
  // on a busy machine it may take its time to come to rest
  await until(
    async () => {
      const { looks } = await figures(tree);
      const before = switches();
      await sleep(2_000);
      woken = switches() - before;
      return woken === 0 && (await figures(tree)).looks === looks;
    },
    () => `${woken} times within two seconds`,
  );
});
