// SPDX-License-Identifier: Apache-2.0
// A listening socket that the app gives to its successor serves there when the app has gone, as in plain Node.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { fixture, freePort, lives, multiplied, request, startApp, until } from './support/app';

const HOST = '127.0.0.1';
const ASKED = 40;
/** Whoever asks at a port that takes no SYN waits for minutes. */
const TIMEOUT_MS = 60_000;

async function generations(port: number): Promise<Set<string>> {
  const all = await Promise.all(Array.from({ length: ASKED }, () => request(port, '/', HOST)));
  return new Set(all.map((answer) => answer.split('\n').at(-2) as string));
}

async function start(t: TestContext, env: Record<string, string>, hook: boolean) {
  const port = await freePort(HOST);
  const app = startApp(fixture('hot-app.js'), { port, hook, env });
  const successors = () => [...app.stdout.matchAll(/^successor (\d+)$/gm)].map(([, pid]) => Number(pid));
  t.after(async () => {
    await app.stop();
    for (const pid of successors().filter(lives)) process.kill(pid, 'SIGKILL');
  });
  if (hook) await multiplied(app, 2, HOST);
  else await until(() => generations(port).catch(() => undefined), 'an answer');
  assert.deepEqual(await generations(port), new Set(['gen 0']));
  process.kill(app.pid, 'SIGUSR2');
  return { app, port, successors };
}

describe('a successor that is given the listening socket', () => {
  for (const hook of [false, true]) {
    const whose = hook ? 'with the hook' : 'plain Node';
    for (const HOW of ['send', 'stdio'])
      test(`by ${HOW}, the app closes and ends: ${whose}`, { timeout: TIMEOUT_MS }, async (t) => {
        const { app, port, successors } = await start(t, { HOW }, hook);
        await until(() => app.child.exitCode !== null, 'the end of the app');
        assert.deepEqual(await app.ended, { code: 0, signal: null });
        assert.equal(successors().length, hook ? 3 : 1);
        assert.deepEqual(await generations(port), new Set(['gen 1']));
      });

    for (const BY of hook ? ['original', 'workers'] : ['original'])
      test(`by the ${BY} alone, a signal ends the app: ${whose}`, { timeout: TIMEOUT_MS }, async (t) => {
        const { app, port } = await start(t, { HOW: 'send', BY }, hook);
        const count = BY === 'workers' ? 2 : 1;
        await until(() => app.stdout.match(/^serves$/gm)?.length === count, 'successors that serve');
        assert.deepEqual(await app.stop('SIGTERM'), { code: null, signal: 'SIGTERM' });
        assert.deepEqual(await generations(port), new Set(['gen 1']));
      });
  }
});
