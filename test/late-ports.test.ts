// SPDX-License-Identifier: Apache-2.0
// Copies that come to a port before the origin does: a faster start, or a reload in which everybody listens again.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LatePorts, OWN_MS, RECLAIM_MS, SETTLED_OWN_MS, TAKEN_MS } from '../lib/origin/late-ports';
import { SETTLES_MS, Settled } from '../lib/origin/settled';
import { type App, answeredBy, fixture, freePort, multiplied, request, startApp, until } from './support/app';
import { exited } from './support/ending';
import { Ledger } from './support/ledger';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';

interface Scene {
  app: App;
  main: number;
  ledger: Ledger;
  workers: number[];
  /** Where it has waited for that, the origin listens there now. */
  go(): void;
}

/** @param main the port that they come to later */
async function start(t: TestContext, env: Record<string, string>, main?: number): Promise<Scene> {
  const ledger = new Ledger();
  const later = main ?? (await freePort(HOST));
  const app = startApp(fixture('late-ports.js'), {
    port: await freePort(HOST),
    env: { MAIN: String(later), LEDGER: ledger.path, ...env },
  });
  t.after(() => app.stop());
  const { ORIGIN_AT = '', COPY_AT } = env;
  const go = () => writeFileSync(ORIGIN_AT, '');
  const workers = await multiplied(app, 2, HOST);
  // both at once: one that comes when the other has been given it finds it taken
  if (COPY_AT) writeFileSync(COPY_AT, '');
  return { app, main: later, ledger, workers, go };
}

/** A file that is not there. */
const missing = () => join(temporaryFolder('late'), 'go');

/** Who answers on the main port, until it is all of these. */
async function servedBy({ app, main }: Scene, pids: number[], ms?: number): Promise<void> {
  const expected = [...pids].sort();
  let seen: unknown[] = [];
  await until(
    async () => {
      const answers = await Promise.all(
        Array.from({ length: 24 }, () => request(main, '/', HOST).catch(() => '')),
      );
      seen = [...new Set(answers.map(answeredBy))].sort();
      return JSON.stringify(seen) === JSON.stringify(expected);
    },
    () => `${expected} instead of ${seen}:\n${app.stderr}`,
    ms,
  );
}

async function refused(port: number): Promise<boolean> {
  return request(port, '/', HOST).then(
    () => false,
    ({ code }) => code === 'ECONNREFUSED',
  );
}

describe('a port that the copies open first', { concurrency: 2 }, () => {
  test('is nobody’s until the origin has it', async (t) => {
    // the copies serve their other port by then: nobody waits for them any more
    const scene = await start(t, { ORIGIN_MS: '1800', COPY_MS: '300' });
    const { app, main, ledger, workers } = scene;
    while (ledger.count(`main ${main}`, app.pid) === 0) {
      assert.ok((await refused(main)) || ledger.count(`main ${main}`, app.pid) > 0);
      await sleep(20);
    }
    await servedBy(scene, workers);
    for (const pid of [app.pid, ...workers])
      assert.deepEqual(ledger.of(pid), [`main ${main}`], 'each listens, once');
  });

  test('goes from the worker that has it to the origin when that comes', async (t) => {
    const scene = await start(t, { ORIGIN_AT: missing(), COPY_AT: missing() });
    const { app, main, ledger, workers } = scene;
    const owner = await until(
      () => workers.find((pid) => ledger.count(`main ${main}`, pid) === 1),
      'an owner',
    );
    await servedBy(scene, [owner]);
    scene.go();
    await until(() => ledger.count(`main ${main}`, app.pid) === 1, 'the origin');
    await servedBy(scene, workers);
    for (const pid of [app.pid, ...workers]) assert.deepEqual(ledger.of(pid), [`main ${main}`]);
    assert.deepEqual(app.workers(), workers, 'nobody has died');
  });

  test('goes to the first of two servers of the origin that want it, and the other is told', async (t) => {
    const scene = await start(t, { ORIGIN_AT: missing(), COPY_AT: missing(), TWICE: '1' });
    const { app, main, ledger, workers } = scene;
    await until(() => workers.some((pid) => ledger.count(`main ${main}`, pid) === 1), 'an owner');
    scene.go();
    await until(
      () => ledger.of(app.pid).length === 3,
      () => `both servers of the origin: ${ledger.of(app.pid)}\n${app.stderr}`,
    );
    // both believe to listen until the worker has given it back
    assert.deepEqual(ledger.of(app.pid), [`main ${main}`, 'second listens', 'second EADDRINUSE']);
    await servedBy(scene, workers);
  });

  test('an origin that cannot have it is told so as in plain Node, like its copies', async (t) => {
    const main = await freePort(HOST);
    const stranger = createServer().listen(main, HOST);
    t.after(() => stranger.close());
    await once(stranger, 'listening');
    const env = { ORIGIN_AT: missing(), COPY_AT: missing() };
    const { app, ledger, go, workers } = await start(t, env, main);
    const all = [app.pid, ...workers];
    const told = (pids: number[]) =>
      until(() => pids.every((pid) => ledger.of(pid).length > 0), `errors of ${pids}`);
    await told(workers);
    // who has been given it, and could not have it, has given it back
    await app.said(/gives \S+ back[\s\S]*gives \S+ back/);
    go();
    await told(all);
    for (const pid of all)
      assert.deepEqual(ledger.of(pid), [
        `error ${JSON.stringify({
          code: 'EADDRINUSE',
          syscall: 'listen',
          address: HOST,
          port: main,
          message: `listen EADDRINUSE: address already in use ${HOST}:${main}`,
        })}`,
      ]);
  });

  for (const ms of ['0', '300']) {
    test(`SIGHUP: every process closes and listens again ${ms} ms later`, async (t) => {
      const scene = await start(t, { RELOAD_MS: ms });
      const { app, main, ledger, workers } = scene;
      await servedBy(scene, workers);
      for (let round = 1; round <= 3; round++) {
        process.kill(app.pid, 'SIGHUP');
        await until(
          () => [app.pid, ...workers].every((pid) => ledger.count(`main ${main}`, pid) === 1 + round),
          () => `round ${round}: all listen again:\n${app.stderr}`,
        );
        await servedBy(scene, workers);
      }
      for (const pid of [app.pid, ...workers])
        assert.equal(ledger.of(pid).filter((event) => event.startsWith('error')).length, 0);
      assert.deepEqual(app.workers(), workers);
    });
  }

  test('an end soon after a reload is as quick as without one, and a worker that dies is replaced at once', async (t) => {
    const scene = await start(t, { RELOAD_MS: '0' });
    const { app, workers } = scene;
    process.kill(app.pid, 'SIGHUP');
    await sleep(500);
    await servedBy(scene, workers);
    process.kill(workers[0] as number, 'SIGKILL');
    await app.said(/worker \d is started again in 0 ms/);
    await until(() => app.workers().length === 2, 'a successor');
    await app.stop('SIGTERM');
    assert.deepEqual(await exited(app), { code: null, signal: 'SIGTERM' });
  });
});

describe('who has a late port', () => {
  const log: string[] = [];
  const make = (settled = false) => {
    log.length = 0;
    return new LatePorts<string>({
      grant: (worker, key) => log.push(`grant ${worker} ${key}`),
      release: (worker, key) => log.push(`release ${worker} ${key}`),
      settled: () => settled,
    });
  };

  test('the first that waits, after a while; the others find it taken later, newcomers at once', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    ports.wait('a', 'p');
    ports.wait('b', 'p');
    t.mock.timers.tick(OWN_MS - 1);
    assert.deepEqual(log, []);
    t.mock.timers.tick(1);
    assert.deepEqual(log, ['grant a p']);
    ports.wait('c', 'p');
    assert.deepEqual(log, ['grant a p', 'grant c p']);
    ports.released('c', 'p');
    assert.ok(ports.isOwned('p'), 'c could not have it');
    t.mock.timers.tick(TAKEN_MS);
    assert.deepEqual(log.slice(2), ['grant b p']);
  });

  test('the next that waits, when the owner ends', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    ports.wait('a', 'p');
    ports.wait('b', 'p');
    t.mock.timers.tick(OWN_MS);
    ports.workerLeft('a');
    assert.equal(ports.isOwned('p'), false);
    t.mock.timers.tick(OWN_MS);
    assert.deepEqual(log, ['grant a p', 'grant b p']);
  });

  test('the origin, when the owner has given it back or takes too long', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    let done = 0;
    ports.wait('a', 'p');
    t.mock.timers.tick(OWN_MS);
    ports.reclaim('p', () => done++);
    assert.deepEqual(log, ['grant a p', 'release a p']);
    assert.equal(done, 0);
    ports.released('a', 'p');
    assert.deepEqual([done, ports.isOwned('p')], [1, false]);
    ports.wait('b', 'q');
    t.mock.timers.tick(OWN_MS);
    ports.reclaim('q', () => done++);
    t.mock.timers.tick(60_000);
    assert.equal(done, 2);
  });

  test('each server of the origin that wants it, when the owner has given it back, the first one first', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    const done: string[] = [];
    ports.owns('a', 'p');
    ports.reclaim('p', () => done.push('first'));
    t.mock.timers.tick(RECLAIM_MS - 1);
    ports.reclaim('p', () => done.push('second'));
    assert.deepEqual([log, done], [['release a p'], []]);
    ports.released('a', 'p');
    assert.deepEqual(done, ['first', 'second']);
    ports.owns('b', 'p');
    ports.reclaim('p', () => done.push('third'));
    t.mock.timers.tick(RECLAIM_MS - 1);
    assert.deepEqual(done, ['first', 'second'], 'b has its own time');
    t.mock.timers.tick(1);
    assert.deepEqual(done, ['first', 'second', 'third']);
  });

  test('the first that waits, sooner in an app that has settled; the others no sooner', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make(true);
    ports.wait('a', 'p');
    ports.wait('b', 'p');
    t.mock.timers.tick(SETTLED_OWN_MS - 1);
    assert.deepEqual(log, []);
    t.mock.timers.tick(1);
    assert.deepEqual(log, ['grant a p']);
    t.mock.timers.tick(TAKEN_MS - 1);
    assert.deepEqual(log, ['grant a p']);
    t.mock.timers.tick(1);
    assert.deepEqual(log, ['grant a p', 'grant b p']);
  });

  test('whoever wants it, where it has been a worker’s own before: at once, until the origin has wanted it', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    ports.wait('a', 'p');
    t.mock.timers.tick(OWN_MS);
    ports.released('a', 'p');
    ports.wait('b', 'p');
    t.mock.timers.tick(1);
    assert.deepEqual(log, ['grant a p', 'grant b p']);
    ports.released('b', 'p');
    ports.opened('p');
    ports.wait('a', 'p');
    t.mock.timers.tick(OWN_MS - 1);
    assert.equal(log.length, 2);
    t.mock.timers.tick(1);
    assert.deepEqual(log.slice(2), ['grant a p']);
    ports.reclaim('p', () => {});
    ports.released('a', 'p');
    ports.wait('b', 'p');
    t.mock.timers.tick(OWN_MS - 1);
    assert.deepEqual(log.slice(3), ['release a p']);
  });

  test('a worker that has taken it without asking, until the origin wants it', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    let done = 0;
    ports.owns('a', 'p');
    ports.owns('b', 'p');
    assert.ok(ports.isOwned('p'));
    ports.reclaim('p', () => done++);
    ports.released('a', 'p');
    assert.deepEqual([log, done, ports.isOwned('p')], [['release a p'], 1, false]);
  });

  test('an app has settled when nothing has happened for a while', (t) => {
    let now = 0;
    t.mock.method(performance, 'now', () => now);
    const settled = new Settled();
    now = SETTLES_MS - 1;
    assert.equal(settled.now, false);
    now = SETTLES_MS;
    assert.equal(settled.now, true);
    settled.changed();
    assert.equal(settled.now, false);
  });

  test('nobody, when the origin opens it in time', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    ports.wait('a', 'p');
    ports.opened('p');
    t.mock.timers.tick(60_000);
    assert.deepEqual(log, []);
  });

  test('nobody, when the origin opens it under another of its names', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ports = make();
    ports.wait('a', '6|::|1', ['4|0.0.0.0|1']);
    ports.wait('b', '6|::|2', ['4|0.0.0.0|2']);
    ports.opened('4|0.0.0.0|1');
    t.mock.timers.tick(60_000);
    assert.deepEqual(log, ['grant b 6|::|2']);
  });
});
