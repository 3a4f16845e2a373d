// SPDX-License-Identifier: Apache-2.0
// Stealing and steering against blocks, stops, kills and closing servers, at random: nobody is lost, nobody is served
// twice, nobody hangs. STEALS: how many there are to be in each test.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Figures, figures, HOST, start, stolen, type Tree } from './support/balance';

const STEALS = Number(process.env['STEALS'] ?? 1_000);
const WORKERS = 4;
const CLIENTS = 48;
const MOST_MS = 60_000;
const HUNG_MS = 20_000;

interface Count {
  made: number;
  answered: number;
  wrong: number;
  /** Connections that were refused or reset. */
  reset: number;
  hung: number;
}

/** One short connection with a question of its own. */
async function ask(port: number, id: number, count: Count): Promise<void> {
  const socket = connect(port, HOST);
  const path = `/id/${id}`;
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('connect', () => {
    count.made++;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  });
  const end = await Promise.race([
    once(socket, 'close').then(
      () => 'closed',
      () => 'reset',
    ),
    sleep(HUNG_MS, 'hung', { ref: false }),
  ]);
  if (end === 'hung') count.hung++;
  else if (end === 'reset' || text === '') count.reset++;
  else if (text.match(/HTTP\/1\.1 200/g)?.length === 1 && text.includes(`=${path}=`)) count.answered++;
  else count.wrong++;
  socket.destroy();
}

const any = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;

type Trouble = (tree: Tree) => Promise<void> | void;

const blockSome: Trouble = ({ port }) => {
  const socket = connect(port, HOST, () =>
    socket.write(`GET /block?${5 + Math.floor(Math.random() * 60)} HTTP/1.1\r\nHost: x\r\n\r\n`),
  );
  socket.on('error', () => {});
};

/** While it is stopped others serve; the signals come in this order (kill(2), signal(7)). */
const stopOne: Trouble = async ({ app }) => {
  const pid = any(app.workers());
  try {
    process.kill(pid, 'SIGSTOP');
    await sleep(5 + Math.random() * 60);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
};

/** The app closes its server in one worker and listens again. */
const closeOne: Trouble = ({ app }) => {
  process.kill(any(app.workers()), 'SIGUSR1');
};

const killOne: Trouble = ({ app }) => {
  process.kill(any(app.workers()), 'SIGKILL');
};

interface Storm {
  count: Count;
  now: Figures;
}

/** Load and trouble until enough has been stolen. */
async function storm(t: TestContext, troubles: readonly Trouble[], everyMs: number): Promise<Storm> {
  const tree = await start(t, { env: { FASTSOCKET_PIN: 'off' } }, WORKERS);
  const count: Count = { made: 0, answered: 0, wrong: 0, reset: 0, hung: 0 };
  let id = 0;
  let going = true;
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (going) await ask(tree.port, id++, count);
  });
  const end = Date.now() + MOST_MS;
  let now = await figures(tree);
  let kept = 0;
  // a respawned worker begins at 0
  for (let last = 0; Date.now() < end && kept + stolen(now) < STEALS; last = stolen(now)) {
    for (let i = 0; i < 10; i++) {
      await Promise.resolve(any(troubles)(tree)).catch(() => {});
      await sleep(Math.random() * everyMs);
    }
    now = await figures(tree);
    if (stolen(now) < last) kept += last;
  }
  going = false;
  await Promise.all(clients);
  await sleep(200);
  now = await figures(tree);
  t.diagnostic(
    `${JSON.stringify(count)}, ${kept + stolen(now)} stolen, ${now.swaps} swaps, ${now.offers} offers`,
  );
  assert.ok(kept + stolen(now) >= STEALS / 10, 'something was stolen');
  return { count, now };
}

test('blocks and stops', async (t) => {
  const { count, now } = await storm(t, [blockSome, stopOne], 40);
  const { made, answered, ...others } = count;
  assert.deepEqual(others, { wrong: 0, reset: 0, hung: 0 });
  assert.equal(answered, made);
  const open = now.seats.reduce((sum, seat) => sum + seat.open, 0);
  assert.ok(open <= 200, `${open} connections are still open`);
});

test('servers that close in one worker and listen again', async (t) => {
  const { count } = await storm(t, [blockSome, stopOne, closeOne], 40);
  const { made, answered, ...others } = count;
  assert.deepEqual(others, { wrong: 0, reset: 0, hung: 0 });
  assert.equal(answered, made);
});

test('workers that are killed: what they had accepted is lost, and nothing else', async (t) => {
  let kills = 0;
  const kill: Trouble = (tree) => {
    if (Math.random() > 0.15) return blockSome(tree);
    kills++;
    return killOne(tree);
  };
  const { count } = await storm(t, [blockSome, stopOne, kill], 60);
  assert.deepEqual({ wrong: count.wrong, hung: count.hung }, { wrong: 0, hung: 0 });
  // a batch and its reads, and what a blocked one had accepted before
  assert.ok(count.reset <= kills * 16, `${count.reset} resets by ${kills} kills`);
});
