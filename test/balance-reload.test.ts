// SPDX-License-Identifier: Apache-2.0
// A reload in which every process closes and listens again: who believed all the while that it listened (the workers come
// first) has another socket now.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredBy, request, until } from './support/app';
import { figures, HOST, start, stolen } from './support/balance';
import { goOn } from './support/scene';

const MOST_ROUNDS = 40;
const PATIENCE_MS = 3_000;

test('a worker that has got its listener back helps before anything has come to it', async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_BALANCE: 'steal' } });
  const { app, port, workers } = tree;
  const [victim, helper] = workers as [number, number];
  const said = (pattern: RegExp): number => app.stderr.match(pattern)?.length ?? 0;
  const ready = () => said(/worker \d is ready on/g);
  const parked = () => said(/waits for the origin/g);
  let [tries, taken] = [0, 0];
  for (let round = 0; round < MOST_ROUNDS && taken === 0; round++) {
    const before = { ready: ready(), parked: parked(), stolen: stolen(await figures(tree)) };
    process.kill(app.pid, 'SIGHUP');
    await until(
      () => ready() >= before.ready + 2,
      () => `all listen again:\n${app.stderr}`,
    );
    if (parked() < before.parked + 2) continue;
    tries++;
    process.kill(victim, 'SIGSTOP');
    t.after(() => goOn(victim));
    // whoever it comes to, one of them alone can answer
    const answer = await Promise.race([request(port, '/', HOST), sleep(PATIENCE_MS, 'nobody')]);
    assert.equal(answeredBy(answer), helper, `${answer}\n${JSON.stringify(await figures(tree))}`);
    process.kill(victim, 'SIGCONT');
    taken = stolen(await figures(tree)) - before.stolen;
  }
  t.diagnostic(`${tries} tries`);
  assert.ok(taken > 0, `${tries} tries`);
});
