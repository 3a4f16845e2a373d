// SPDX-License-Identifier: Apache-2.0
// prom-client's AggregatorRegistry: the origin asks its workers, as a cluster's primary does.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { answeredBy, answering, fixture, freePort, request, startApp, until } from './support/app';

const HOST = '127.0.0.1';
const REQUESTS = 40;

async function start(t: TestContext, hook: boolean) {
  const metrics = await freePort(HOST);
  const app = startApp(fixture('aggregator-app.js'), {
    port: await freePort(HOST),
    hook,
    env: { HOST, METRICS: String(metrics) },
  });
  t.after(() => app.stop());
  if (!hook) await answering(metrics, HOST);
  for (const index of hook ? [1, 2] : []) await app.said(new RegExp(`worker ${index} is ready`));
  const by = new Map<number, number>();
  const ask = async (times: number) => {
    for (let i = 0; i < times; i++) {
      const pid = answeredBy(await request(app.port, '/', HOST)) as number;
      by.set(pid, (by.get(pid) ?? 0) + 1);
    }
  };
  const counted = async () => {
    const text = await request(metrics, '/', HOST);
    return Number(/^asked_total (\d+)$/m.exec(text)?.[1] ?? assert.fail(text));
  };
  return { app, workers: app.workers(), ask, counted, by };
}

test('prom-client: the figures of all, as a plain process has its own', async (t) => {
  const plain = await start(t, false);
  await plain.ask(REQUESTS);
  assert.equal(await plain.counted(), REQUESTS);
  const { app, workers, ask, counted, by } = await start(t, true);
  await until(async () => {
    await ask(1);
    return workers.every((pid) => by.has(pid));
  }, 'answers of both');
  await ask(REQUESTS);
  const all = [...by.values()].reduce((sum, count) => sum + count, 0);
  assert.equal(await counted(), all);
  // whoever dies takes its figures along, and does not keep the others waiting
  const [first, second] = workers as [number, number];
  process.kill(first, 'SIGKILL');
  // until then it is asked, and the answer is waited for, as under cluster
  await app.said(/worker 1 ended/);
  const left = await until(() => counted().then((count) => count !== all && count), 'the others');
  assert.equal(left, by.get(second));
  await app.said(/worker 1 is ready[\s\S]*worker 1 is ready/);
  await ask(REQUESTS);
  assert.equal(await counted(), left + REQUESTS);
});
