// SPDX-License-Identifier: Apache-2.0
// Workers that die are replaced, workers that serve are left alone, and somebody always serves.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type App,
  answeredBy,
  census,
  childrenOf,
  fixture,
  freePort,
  lives,
  multiplied,
  request,
  startApp,
  until,
} from './support/app';
import { exited } from './support/ending';
import { Ledger } from './support/ledger';
import { startTree } from './support/signals';

const HOST = '127.0.0.1';

interface Tree {
  app: App;
  ledger: Ledger;
  workers: number[];
}

async function start(t: TestContext, env: Record<string, string> = {}, ready = 2): Promise<Tree> {
  const ledger = new Ledger();
  const app = startApp(fixture('respawn-app.js'), {
    port: await freePort(),
    env: { LEDGER: ledger.path, ...env },
  });
  t.after(() => app.stop());
  return { app, ledger, workers: await multiplied(app, ready, HOST) };
}

/** One request that is answered by anybody, or by nobody because that process ends. */
const ask = ({ app }: Tree, path = '/'): Promise<string> => request(app.port, path, HOST).catch(() => '');

/** Waits until exactly these processes answer. */
async function servedBy({ app }: Tree, pids: readonly number[], what: string): Promise<void> {
  const expected = [...pids].sort().join();
  await until(
    async () => [...(await census(app.port, 24, HOST)).keys()].sort().join() === expected,
    `answers by ${what}:\n${app.stderr}`,
  );
}

async function untilWorkers({ app }: Tree, count: number): Promise<number[]> {
  return until(() => {
    const pids = childrenOf(app.pid);
    return pids.length === count ? pids : undefined;
  }, `${count} workers:\n${app.stderr}`);
}

describe('a worker that ends is replaced at once', () => {
  const causes: Record<string, (tree: Tree) => void> = {
    'by SIGKILL': ({ workers }) => process.kill(workers[0] as number, 'SIGKILL'),
    'by SIGABRT': ({ workers }) => process.kill(workers[0] as number, 'SIGABRT'),
    'by an uncaught exception': (tree) => void ask(tree, '/throw'),
    'by its own process.exit(0)': (tree) => void ask(tree, '/exit?code=0'),
    'by its own process.exit(1)': (tree) => void ask(tree, '/exit?code=1'),
  };
  for (const [cause, end] of Object.entries(causes)) {
    test(cause, async (t) => {
      const tree = await start(t);
      end(tree);
      await tree.app.said(/worker \d is started again in 0 ms/);
      const now = await untilWorkers(tree, 2);
      assert.equal(now.filter((pid) => tree.workers.includes(pid)).length, 1, 'the other one was left alone');
      await servedBy(tree, now, 'both workers, and them only');
    });
  }
});

test('a worker that crashes again and again before it listens: the others serve, nothing spins', async (t) => {
  const tree = await start(t, { CRASH: '2' }, 1);
  const count = () => tree.ledger.count('start 2');
  await until(() => count() >= 4, 'four starts');
  const from = { starts: count(), at: performance.now() };
  const first = tree.app.workers()[0] as number;
  let answers = 0;
  while (performance.now() - from.at < 1_500) {
    const by = answeredBy(await ask(tree));
    assert.ok(by !== undefined, 'nothing is lost');
    assert.equal(by, first, 'worker 1 serves, the origin stands by');
    answers++;
    await sleep(5);
  }
  assert.ok(answers > 10);
  // a start after 400 ms, and one 800 ms after that; it may be the third where the fourth was under way
  assert.ok(count() - from.starts <= 3, `${count() - from.starts} starts`);
  assert.equal(tree.ledger.count('start 1'), 1);
  assert.equal(tree.ledger.count('start 0'), 1);
});

test('when all workers have died the origin serves, and stands by again when they are back', async (t) => {
  const tree = await start(t);
  const { app } = tree;
  // until the replacements wait long enough to be missed
  for (let round = 0; round < 4; round++) {
    const ends = [...app.stderr.matchAll(/worker \d ended/g)].length;
    for (const pid of await untilWorkers(tree, 2)) process.kill(pid, 'SIGKILL');
    await until(() => [...app.stderr.matchAll(/worker \d ended/g)].length === ends + 2, 'the end of both');
  }
  assert.equal(answeredBy(await request(app.port, '/', HOST)), app.pid);
  await servedBy(tree, await untilWorkers(tree, 2), 'both workers, and them only');
});

test('a worker that closes its server leaves the steering, and is replaced when it ends', async (t) => {
  const tree = await start(t);
  const closed = answeredBy(await request(tree.app.port, '/close', HOST)) as number;
  assert.ok(tree.workers.includes(closed));
  const [other] = tree.workers.filter((pid) => pid !== closed) as [number];
  await servedBy(tree, [other], 'the other worker alone');
  for (let i = 0; i < 50; i++) assert.equal(answeredBy(await request(tree.app.port, '/', HOST)), other);
  assert.deepEqual(childrenOf(tree.app.pid), tree.workers, 'it lives on, and nobody takes its place');
  process.kill(closed, 'SIGKILL');
  await until(() => !lives(closed), 'its end');
  await servedBy(tree, await untilWorkers(tree, 2), 'the other worker and the successor');
});

test('when all workers have closed their servers the origin serves', async (t) => {
  const tree = await start(t);
  await until(
    async () => answeredBy(await request(tree.app.port, '/close', HOST)) === tree.app.pid,
    'an answer by the origin',
  );
  await servedBy(tree, [tree.app.pid], 'the origin');
  assert.deepEqual(childrenOf(tree.app.pid), tree.workers);
});

test('a port that only a running worker opens is its own', async (t) => {
  const tree = await start(t);
  const port = await freePort(HOST);
  const opened = await request(tree.app.port, `/open?port=${port}`, HOST);
  assert.match(opened, /open$/);
  const owner = answeredBy(opened) as number;
  assert.ok(tree.workers.includes(owner));
  assert.deepEqual([...(await census(port, 20, HOST)).keys()], [owner]);
  // the others find it taken, as any other process would
  await until(async () => {
    const again = await request(tree.app.port, `/open?port=${port}`, HOST);
    assert.match(again, /EADDRINUSE$/);
    return answeredBy(again) !== owner;
  }, 'the same question to the other worker');
  await servedBy(tree, tree.workers, 'the same two workers');
});

test('workers that end because a signal tells them to are not replaced while the origin finishes', async (t) => {
  const tree = await startTree(t, { HANDLER: 'workers first' });
  process.kill(tree.origin, 'SIGTERM');
  assert.deepEqual(await exited(tree.app), { code: 0, signal: null });
  assert.equal(tree.ledger.count('worker'), 2, 'no third one');
});
