// SPDX-License-Identifier: Apache-2.0
// listen() and close() in quick turn, hundreds of times: as without the hook, and nothing is left behind.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { answering, fixture, freePort, multiplied, startApp } from './support/app';

const HOST = '127.0.0.1';
const TURNS = 200;
/** Each of them waits for the workers. */
const TURNS_BESIDE = 60;

/** A port that has a free neighbour. */
async function twoPorts(): Promise<number> {
  for (;;) {
    const port = await freePort(HOST);
    if (port % 2 === 0) return port;
  }
}

async function run(t: TestContext, hook: boolean, beside = false) {
  const main = await freePort(HOST);
  const env = {
    PORT: String(await twoPorts()),
    TURNS: String(beside ? TURNS_BESIDE : TURNS),
    MAIN: beside ? String(main) : '',
  };
  const app = startApp(fixture('quick-turn.js'), { port: main, hook, env });
  t.after(() => app.stop());
  if (beside) {
    if (hook) await multiplied(app, 2, HOST);
    else await answering(main, HOST);
    process.kill(app.pid, 'SIGUSR1');
  }
  const ended = await app.ended;
  return {
    ended,
    said: app.stdout.split('\n').filter(Boolean),
    stderr: app.stderr.replace(/^FASTSOCKET .*\n/gm, '').replaceAll(/\(node:\d+\)/g, '(node)'),
  };
}

test(`${TURNS} turns of each kind end as they end in plain Node`, async (t) => {
  const plain = await run(t, false);
  assert.equal(plain.said.length, 5, plain.stderr);
  assert.deepEqual(await run(t, true), plain);
});

test(`${TURNS_BESIDE} turns of each kind, in an app whose workers serve on another port`, async (t) => {
  const plain = await run(t, false, true);
  assert.equal(plain.said.length, 5, plain.stderr);
  assert.deepEqual(await run(t, true, true), plain);
});
