// SPDX-License-Identifier: Apache-2.0
// Starts and stops at random moments: while the first copy proves itself, while a worker is started again, while the app
// closes. Status or signal of plain Node, a free port, no orphan. STOPS: how many; SEED: which.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dice, fraction } from '../bench/simulation/random';
import { type App, type Ended, fixture, freePort, lives, startApp, until } from './support/app';
import { exited, portFree, untilPortFree } from './support/ending';
import { type Act, type Chance, KINDS, type Stop } from './support/stops';

const STOPS = Number(process.env['STOPS'] ?? 30);
const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 32);
const LANES = 4;
const MARK = 'STOPS_APP';
/** A worker whose origin was killed takes a moment to go. */
const GONE_MS = 2_000;
const END_MS = 30_000;

/** The same for the same seed and number, whatever ran before. */
function chanceOf(number: number): Chance {
  const roll = dice(SEED + number);
  const next = () => fraction(roll);
  return {
    fraction: next,
    ms: (most = 1_500) => Math.floor(next() * most),
    any: (list) => list[Math.floor(next() * list.length)] as (typeof list)[number],
  };
}

/** Living processes that have this mark in their environment; a zombie has none. */
function marked(mark: string): number[] {
  const has = (pid: number) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${mark}\0`);
    } catch {
      return false; // it has ended meanwhile
    }
  };
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && has(pid) && lives(pid));
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A client that waits for an answer that does not come. */
function wait(port: number): Socket {
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /wait HTTP/1.1\r\nHost: test\r\n\r\n'));
  return socket.on('error', () => {});
}

interface Facts {
  /** Its handler was there, and its client heard, before a signal came to the origin. */
  sure: boolean;
  clients: Socket[];
}

function act(app: App, { to, signal, which = 0 }: Act, stop: Stop, facts: Facts): void {
  if (to === 'client') {
    facts.clients.push(wait(app.port));
    return;
  }
  if (to === 'worker') {
    const workers = app.workers();
    const pid = workers[Math.floor(which * workers.length)];
    if (pid !== undefined && signal) send(pid, signal);
    return;
  }
  if (signal === 'SIGTERM') {
    const heard = !stop.acts.some(({ to: whom }) => whom === 'client') || /asked/.test(app.stdout);
    facts.sure = /handles/.test(app.stdout) && heard;
  }
  if (signal) send(to === 'group' ? -app.pid : app.pid, signal);
}

/** What was wrong, or undefined. */
async function run(number: number, stop: Stop, hook: boolean): Promise<string | undefined> {
  const mark = `${process.pid}-${number}-${hook}`;
  const port = await freePort('127.0.0.1');
  const env = { ...stop.env, [MARK]: mark, NODE_DEBUG: '' };
  const app = startApp(fixture('stops-app.js'), { port, env, hook, detached: true });
  const facts: Facts = { sure: false, clients: [] };
  const start = performance.now();
  let isOver = false;
  const over = exited(app).then((ended) => {
    isOver = true;
    return ended;
  });
  try {
    for (const next of stop.acts) {
      await Promise.race([over, sleep(Math.max(0, start + next.atMs - performance.now()))]);
      if (isOver) break;
      act(app, next, stop, facts);
    }
    await until(() => isOver, 'the end', END_MS);
    return await judge(app, await over, stop, facts, mark);
  } catch (error) {
    return (error as Error).message;
  } finally {
    for (const socket of facts.clients) socket.destroy();
    for (const pid of marked(mark)) send(pid, 'SIGKILL');
  }
}

async function judge(
  app: App,
  ended: Ended,
  stop: Stop,
  facts: Facts,
  mark: string,
): Promise<string | undefined> {
  const allowed = (facts.sure && stop.sure) || stop.ends;
  const isAllowed = allowed.some(({ code, signal }) => ended.code === code && ended.signal === signal);
  if (!isAllowed) return `ended with ${JSON.stringify(ended)} instead of ${JSON.stringify(allowed)}`;
  // nothing of ours runs when the origin is killed: its workers follow it a moment later
  if (ended.signal === 'SIGKILL') await untilPortFree(app.port, GONE_MS);
  else if (!(await portFree(app.port))) return held(app, mark);
  await until(
    () => marked(mark).length === 0,
    () => `orphans ${marked(mark)}`,
    GONE_MS,
  );
  const isClosed = await Promise.race([app.ended.then(() => true), sleep(GONE_MS, false)]);
  if (!isClosed) return 'somebody has its output';
  const { says = /^$/ } = stop;
  return says.test(app.stderr) ? undefined : `it said: ${app.stderr}`;
}

/** By whom, and for how long. */
async function held(app: App, mark: string): Promise<string> {
  const left = marked(mark);
  const ms = await untilPortFree(app.port, GONE_MS).catch(() => GONE_MS);
  return `the port is held for ${Math.round(ms)} ms more; of the app there live ${left.join(', ') || 'none'}`;
}

/** Runs the stops of these numbers, a few at a time; the first that was wrong, and what. */
async function runAll(t: TestContext, numbers: number[], hook: boolean): Promise<void> {
  const names = Object.keys(KINDS);
  const wrong: string[] = [];
  const left = [...numbers];
  const lane = async () => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const kind = names[number % names.length] as string;
      const stop = (KINDS[kind] as (typeof KINDS)[string])(chanceOf(number));
      const what = await run(number, stop, hook);
      if (what !== undefined) wrong.push(`${number}, ${kind}: ${what}\n  ${JSON.stringify(stop)}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  t.diagnostic(`${numbers.length} stops, seed ${SEED}`);
  assert.equal(wrong.length, 0, `SEED=${SEED} STOPS=${STOPS}\n${wrong.join('\n')}`);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe('an app that is started and stopped at random', { timeout: 120_000 + STOPS * 2_000 }, () => {
  test('plain Node ends as is expected here', (t) => runAll(t, upTo(Object.keys(KINDS).length), false));
  test('the same, and nothing is left, with the hook', (t) => runAll(t, upTo(STOPS), true));
});
