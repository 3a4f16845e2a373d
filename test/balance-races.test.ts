// SPDX-License-Identifier: Apache-2.0
// Stealing and steering against blocks, stops, kills and closing servers, at random: nobody is lost, nobody is served
// twice, nobody hangs. STEALS: how many there are to be in each test.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ask, type Count, newCount } from './support/asking';
import { type Figures, figures, HOST, start, stolen, type Tree } from './support/balance';

const run = promisify(execFile);
const STEALS = Number(process.env['STEALS'] ?? 1_000);
const WORKERS = 4;
const CLIENTS = 48;
const MOST_MS = 60_000 + STEALS * 3;

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

/** A limit that nobody reaches: it takes nothing of its siblings' until the next such signal (net.Server.maxConnections). */
const limitOne: Trouble = ({ app }) => {
  process.kill(any(app.workers()), 'SIGWINCH');
};

/** No descriptor is left in one worker: it accepts nothing until some are. */
const exhaustOne: Trouble = async ({ app }) => {
  const pid = any(app.workers());
  const most = readFileSync(`/proc/${pid}/limits`, 'utf8').match(/^Max open files\s+(\d+)/m)?.[1];
  const limit = (soft: number | string) => run('prlimit', ['--pid', `${pid}`, `--nofile=${soft}:`]);
  try {
    await limit(readdirSync(`/proc/${pid}/fd`).length - 1);
    await sleep(5 + Math.random() * 60);
  } finally {
    await limit(most as string);
  }
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
  const count = newCount();
  let id = 0;
  let going = true;
  t.after(() => {
    going = false;
  });
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (going) await ask(tree.port, id++, count);
  });
  const end = Date.now() + MOST_MS;
  let now = await figures(tree);
  let kept = 0;
  // a respawned worker begins at 0
  for (let last = 0; Date.now() < end && kept + stolen(now) < STEALS; last = stolen(now)) {
    for (let i = 0; i < 10; i++) {
      // on a slow machine there may be no worker at the moment
      await Promise.resolve(tree)
        .then(any(troubles))
        .catch(() => {});
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
    `${JSON.stringify({ ...count, by: undefined })}, ${kept + stolen(now)} stolen, ${now.swaps} swaps, ${now.offers} offers`,
  );
  assert.ok(kept + stolen(now) >= STEALS / 10, 'something was stolen');
  return { count, now };
}

test('blocks and stops', async (t) => {
  const { count, now } = await storm(t, [blockSome, stopOne], 40);
  const { made, answered, by, ...others } = count;
  assert.deepEqual(others, { wrong: 0, reset: 0, hung: 0 });
  assert.equal(answered, made);
  const open = now.seats.reduce((sum, seat) => sum + seat.open, 0);
  assert.ok(open <= 200, `${open} connections are still open`);
});

test('workers that accept nothing, or nothing of others, for a while', async (t) => {
  const { count } = await storm(t, [blockSome, stopOne, limitOne, exhaustOne], 40);
  const { made, answered, by, ...others } = count;
  assert.deepEqual(others, { wrong: 0, reset: 0, hung: 0 });
  assert.equal(answered, made);
});

test('servers that close in one worker and listen again', async (t) => {
  const { count } = await storm(t, [blockSome, stopOne, closeOne], 40);
  const { made, answered, by, ...others } = count;
  assert.deepEqual(others, { wrong: 0, reset: 0, hung: 0 });
  assert.equal(answered, made);
});

test('workers that are killed: what they had accepted is lost, and nothing else', async (t) => {
  let kills = 0;
  const kill: Trouble = (tree) => {
    if (Math.random() > 0.15) return blockSome(tree);
    killOne(tree);
    kills++;
  };
  const { count } = await storm(t, [blockSome, stopOne, kill], 60);
  assert.deepEqual({ wrong: count.wrong, hung: count.hung }, { wrong: 0, hung: 0 });
  // a batch and its reads, and what a blocked one had accepted before
  assert.ok(count.reset <= kills * 16, `${count.reset} resets by ${kills} kills`);
});
