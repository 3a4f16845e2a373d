// SPDX-License-Identifier: Apache-2.0
// A kernel or a container that refuses the steering program: sockets that nobody serves leave the group instead.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Customers, settle } from './support/accounts';
import {
  type App,
  answeredBy,
  answering,
  fixture,
  freePort,
  multiplied,
  request,
  startApp,
  until,
} from './support/app';
import { HalfOpen, noHalfOpen } from './support/half-open';
import { refusing } from './support/refuse';
import { temporaryFolder } from './support/temporary';

/** SO_ATTACH_REUSEPORT_CBPF (include/uapi/asm-generic/socket.h). */
const ATTACH = 51;
const HOST = '127.0.0.1';
const CLIENTS = 32;

/** CPU time of a process, in clock ticks of 10 ms. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** Pids that answered `count` requests, eight at a time; throws when one is refused or has no answer within 5 s. */
async function rush(port: number, count: number): Promise<number[]> {
  const pids = new Set<number>();
  const lane = async () => {
    for (let i = 0; i < count / 8; i++) {
      const pid = answeredBy(
        await Promise.race([request(port, '/', HOST), sleep(5_000, '', { ref: false })]),
      );
      assert.ok(pid !== undefined, 'a connection has no answer');
      pids.add(pid);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return [...pids].sort();
}

async function start(
  t: TestContext,
  errno: string,
  script: string,
  env: Record<string, string>,
): Promise<App> {
  const app = startApp(fixture(script), {
    port: await freePort(HOST),
    prefix: refusing(`setsockopt:2=${ATTACH}:${errno}`),
    env: { HOST, ...env },
  });
  t.after(() => app.stop());
  return app;
}

/** What the app says, from `from` on, about workers that are ready. */
const readyLines = (app: App, from = 0) => app.stderr.slice(from).match(/worker \d+ is ready/g)?.length ?? 0;

/** The two workers that serve now, when those whose socket is shut have come back to it. */
async function servedByTwo(app: App): Promise<number[]> {
  return until(async () => {
    const pids = await rush(app.port, 24);
    return pids.length === 2 && !pids.includes(app.pid) && pids;
  }, `two workers and nobody else to serve:\n${app.stderr}`);
}

describe('without a steering program', () => {
  for (const errno of ['EPERM', 'ENOPROTOOPT']) {
    test(`workers serve everything and the origin stands by at no cost (${errno})`, async (t) => {
      const app = await start(t, errno, 'http-app.js', { GRACE: '1' });
      const workers = await multiplied(app, 2, HOST);
      assert.match(app.stderr, /no steering program/);
      await servedByTwo(app);
      assert.deepEqual(await rush(app.port, 304), [...workers].sort());
      const before = ticks(app.pid);
      await sleep(2_000);
      assert.ok(ticks(app.pid) - before <= 2, `${ticks(app.pid) - before} ticks in 2 s`);
      assert.deepEqual(await app.stop('SIGTERM'), { code: 0, signal: null });
    });
  }

  test('when no worker lives the origin serves, and stands by again afterwards', async (t) => {
    const folder = temporaryFolder('no-program');
    const ledger = join(folder, 'ledger');
    writeFileSync(ledger, '');
    const app = await start(t, 'EPERM', 'ledger-app.js', { LEDGER: ledger });
    await multiplied(app, 2, HOST);
    await servedByTwo(app);

    const asked = () => readFileSync(ledger, 'utf8').split(`request ${app.pid} `).length - 1;
    const customers = new Customers(app.port, CLIENTS);
    t.after(() => customers.stop());
    const kills = [];
    for (let i = 0; i < 4; i++) {
      const [before, said] = [asked(), app.stderr.length];
      for (const pid of app.workers()) {
        process.kill(pid, 'SIGKILL');
        kills.push({ pid, at: Date.now() });
      }
      await until(() => asked() > before, `the origin to serve:\n${app.stderr}`);
      await until(() => readyLines(app, said) >= 2, `successors:\n${app.stderr}`);
    }
    await customers.stop();
    const { answered, accepted, ...faults } = settle(customers.outcomes, ledger, kills);
    t.diagnostic(`${answered} answered, ${accepted} lost with the process that had them`);
    assert.deepEqual(faults, { refused: 0, hung: 0, queued: 0, wrong: 0 });

    const successors = await servedByTwo(app);
    const before = asked();
    assert.deepEqual(await rush(app.port, 304), successors);
    assert.equal(asked(), before, 'the origin stands by');
  });

  describe('a handshake that is under way', { skip: noHalfOpen }, () => {
    const count = 200;
    const all = { answered: count, reset: 0, hung: 0 };

    for (const killed of [1, 2]) {
      test(`outlives the death of ${killed} of two workers`, async (t) => {
        const app = await start(t, 'EPERM', 'http-app.js', {});
        await multiplied(app, 2, HOST);
        const halfOpen = await HalfOpen.begin(app.pid, app.port, count);
        for (const pid of app.workers().slice(0, killed)) process.kill(pid, 'SIGKILL');
        assert.deepEqual(await halfOpen.finish(), all);
      });
    }

    test('outlives the moment from which the workers serve', async (t) => {
      const app = await start(t, 'EPERM', 'http-app.js', {
        NODE_OPTIONS: `-r ${fixture('slow-as-worker.cjs')}`,
      });
      await answering(app.port, HOST);
      const halfOpen = await HalfOpen.begin(app.pid, app.port, count);
      assert.equal(readyLines(app), 0, 'the origin serves');
      await multiplied(app, 2, HOST);
      assert.deepEqual(await halfOpen.finish(), all);
    });
  });

  test('a share whose worker does not come back is served', async (t) => {
    const folder = temporaryFolder('no-program');
    const when = join(folder, 'now');
    const app = await start(t, 'EPERM', 'http-app.js', {
      NODE_OPTIONS: `-r ${fixture('fails-as-worker.cjs')}`,
      WHEN: when,
    });
    const [victim, other] = await multiplied(app, 2, HOST);
    writeFileSync(when, '');
    process.kill(victim as number, 'SIGKILL');
    // by the origin at first, by the worker that is left when the attempts have become rare: all of it, and at once
    assert.deepEqual(await rush(app.port, 96), [app.pid, other].sort());
    await until(async () => (await rush(app.port, 96)).length === 1, `the socket to leave:\n${app.stderr}`);
    const before = ticks(app.pid);
    assert.deepEqual(await rush(app.port, 304), [other]);
    await sleep(1_000);
    assert.ok(ticks(app.pid) - before <= 5, `${ticks(app.pid) - before} ticks`);
  });

  test('a worker that closes its own server leaves its share to the others', async (t) => {
    const app = await start(t, 'EPERM', 'http-app.js', { KEEP: '1' });
    const workers = await multiplied(app, 2, HOST);
    const closed = await until(async () => {
      const pid = answeredBy(await request(app.port, '/close', HOST));
      return workers.includes(pid as number) && pid;
    }, 'a worker that closes');
    const others = workers.filter((pid) => pid !== closed);
    await until(async () => JSON.stringify(await rush(app.port, 96)) === JSON.stringify(others), app.stderr);
    const before = ticks(app.pid);
    await sleep(1_000);
    assert.ok(ticks(app.pid) - before <= 1, `${ticks(app.pid) - before} ticks in a second`);
    assert.deepEqual(app.workers().sort(), [...workers].sort());
  });

  test('a copy that does not prove itself answers what the kernel has given it', async (t) => {
    const folder = temporaryFolder('no-program');
    const ledger = join(folder, 'ledger');
    writeFileSync(ledger, '');
    const second = await freePort(HOST);
    const app = await start(t, 'EPERM', 'draining.js', {
      LEDGER: ledger,
      SECOND: String(second),
      SLOW_MS: '300',
    });
    await answering(app.port, HOST);
    const by = new Map<number, number>();
    let over = false;
    const client = async () => {
      while (!over) {
        const pid = answeredBy(await request(app.port, '/slow', HOST));
        assert.ok(pid !== undefined, 'an answer');
        by.set(pid, (by.get(pid) ?? 0) + 1);
      }
    };
    const clients = Array.from({ length: 16 }, client);
    await app.said(/runs as plain Node: the copy did not listen/, 30_000);
    await until(() => app.workers().length === 0, 'the end of the copy');
    over = true;
    await Promise.all(clients);
    t.diagnostic(`answered by ${[...by.values()].join(' and ')}`);
    assert.equal(by.size, 2, 'the kernel gave some to the copy');
  });
});
