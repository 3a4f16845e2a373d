// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type App,
  answeredBy,
  census,
  fixture,
  freePort,
  multiplied,
  request,
  startApp,
  until,
} from './support/app';
import { refusing } from './support/refuse';

/** SO_ATTACH_REUSEPORT_CBPF (include/uapi/asm-generic/socket.h). */
const ATTACH = 51;

async function start(t: TestContext, errno: string): Promise<App> {
  const port = await freePort();
  const app = startApp(fixture('http-app.js'), {
    port,
    prefix: refusing(`setsockopt:2=${ATTACH}:${errno}`),
    env: { GRACE: '1' },
  });
  t.after(() => app.stop());
  return app;
}

/** CPU time of a process, in clock ticks of 10 ms. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** `count` requests, eight at a time: pids that answered; throws when one has no answer within 5 s. */
async function rush(port: number, count: number): Promise<Set<number>> {
  const pids = new Set<number>();
  const lane = async () => {
    for (let i = 0; i < count / 8; i++) {
      const pid = answeredBy(await Promise.race([request(port), sleep(5_000, '', { ref: false })]));
      assert.ok(pid !== undefined, 'a connection has no answer');
      pids.add(pid);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return pids;
}

describe('without a steering program', () => {
  for (const errno of ['EPERM', 'ENOPROTOOPT']) {
    test(`workers serve everything and the origin stands by at no cost (${errno})`, async (t) => {
      const app = await start(t, errno);
      const workers = await multiplied(app);
      assert.match(app.stderr, /no steering program/);
      await until(async () => (await census(app.port, 20)).size === 2, 'both workers');
      const pids = await rush(app.port, 304);
      assert.deepEqual([...pids].sort(), [...workers].sort());
      const before = ticks(app.pid);
      await sleep(2_000);
      assert.ok(ticks(app.pid) - before <= 2, `${ticks(app.pid) - before} ticks in 2 s`);
    });
  }

  test('when no worker lives the origin serves, and stands by again afterwards', async (t) => {
    const app = await start(t, 'EPERM');
    const workers = await multiplied(app);
    for (const pid of workers) process.kill(pid, 'SIGKILL');
    await until(async () => answeredBy(await request(app.port).catch(() => '')) !== undefined, 'an answer');
    await rush(app.port, 104);
    await until(() => app.workers().filter((pid) => !workers.includes(pid)).length === 2, 'successors');
    await until(async () => {
      const seen = [...(await census(app.port, 20)).keys()];
      return seen.length === 2 && !seen.includes(app.pid);
    }, `the successors to serve:\n${app.stderr}`);
    assert.deepEqual(await app.stop('SIGTERM'), { code: 0, signal: null });
  });
});
