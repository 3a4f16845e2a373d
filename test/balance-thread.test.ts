// SPDX-License-Identifier: Apache-2.0
// The balancing thread is there where there is something for it to do, also for an app that forks late.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, until } from './support/app';
import { start } from './support/balance';
import { numbers, ownCluster } from './support/own-cluster';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';

const PATIENCE_MS = 5_000;

/** Threads of this process that are called so. */
function threads(pid: number, name: string): number {
  const folder = `/proc/${pid}/task`;
  const names = readdirSync(folder).map((id) => readFileSync(join(folder, id, 'comm'), 'utf8').trim());
  return names.filter((each) => each === name).length;
}

describe('FASTSOCKET_BALANCE and FASTSOCKET_STEER', { concurrency: 2 }, () => {
  const settings: [balance: string, steer: string, threads: number][] = [
    ['shares', 'auto', 1],
    ['shares', 'hash', 0],
    ['shares', 'cpu', 0],
    ['swap', 'ip', 0],
    ['swap', 'hash', 1],
    ['steal', 'ip', 1],
    ['off', 'auto', 0],
  ];
  for (const [balance, steer, count] of settings)
    test(`${balance} with ${steer}: ${count ? 'a thread' : 'none'}`, async (t) => {
      const env = { FASTSOCKET_BALANCE: balance, FASTSOCKET_STEER: steer };
      const { app } = await start(t, { env });
      assert.equal(threads(app.pid, 'fastsocket'), count);
      if (count === 0) await app.said(/balancing is off: FASTSOCKET_BALANCE=/);
    });
});

describe('an app that forks workers itself', { concurrency: 2 }, () => {
  for (const late of [false, true])
    test(`${late ? 'long after its primary has listened' : 'at once'}: what comes to a blocked one is served`, async (t) => {
      const folder = temporaryFolder('block');
      const file = join(folder, 'go-on');
      const env = { GO_ON: file, ...(late ? { ADMIN: `${await freePort(HOST)}` } : {}) };
      const cluster = await ownCluster(t, { workers: late ? 0 : 2, env });
      const { app } = cluster;
      if (late) {
        await app.said(/worker 2 is ready/);
        const copies = app.workers();
        cluster.command('fork 2');
        await cluster.served(2);
        await until(() => !copies.some((pid) => app.workers().includes(pid)), 'the end of our copies');
      }
      const { id } = await cluster.ask('/block', app.port);
      const replies = await Promise.race([cluster.answers(48, app.port), sleep(PATIENCE_MS, [])]);
      writeFileSync(file, '');
      await until(
        async () => (await cluster.ask('/', app.port)).id === id,
        'an answer of the one that was blocked',
      );
      assert.equal(replies.length, 48, app.stderr);
      assert.deepEqual(numbers(replies), [3 - id]);
      assert.equal(threads(app.pid, 'fastsocket'), 1);
    });
});
