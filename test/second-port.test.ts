// SPDX-License-Identifier: Apache-2.0
// Apps that listen, and look for the port of a second server then: a copy that serves on the first one is not there yet.
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { hasStarted } from '../lib/origin/started';
import { fixture, freePort, multiplied, startApp, until } from './support/app';
import { whoAnswers } from './support/clients';
import { Ledger } from './support/ledger';
import { PackageWithoutAddon } from './support/without-addon';

const PROBES = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'];

async function comesToBoth(t: TestContext, hook: boolean | string[]): Promise<void> {
  const ledger = new Ledger();
  const [port, second] = [await freePort(), await freePort()];
  const env = { SECOND: String(second), PROBES: PROBES.join(' '), LEDGER: ledger.path };
  const app = startApp(fixture('second-port.js'), { port, env, hook });
  t.after(() => app.stop());
  const workers = await multiplied(app, 2, '127.0.0.1');
  const story = [...PROBES.map((host) => `free at ${host}`), 'listens'];
  for (const pid of [app.pid, ...workers]) {
    await until(
      () => ledger.of(pid).length >= story.length,
      () => `the second port of ${pid}\n${app.stderr}`,
    );
    assert.deepEqual(ledger.of(pid), story);
  }
  const silent = new Set(workers);
  await until(
    async () => {
      silent.delete(await whoAnswers('http', { port: second, host: '127.0.0.1' }));
      return silent.size === 0;
    },
    () => `answers of ${[...silent]}\n${app.stderr}`,
  );
  assert.doesNotMatch(app.stderr, /alone/);
}

test('its copies find the same second port', (t) => comesToBoth(t, true));

const bare = new PackageWithoutAddon();
after(() => bare.remove());
describe('without the addon its copies find the same second port', { concurrency: 2 }, () => {
  for (const [means, flags] of Object.entries(bare.means)) test(means, (t) => comesToBoth(t, flags));
});

test('a worker has started when it listens where the others do that were open before', () => {
  const group = (openedAt: number, ...ready: number[]) => ({ key: '', openedAt, ready: new Set(ready) });
  const second = () => ({ index: 2, servedAt: 5 });
  const cases: [groups: ReturnType<typeof group>[], canary: boolean, started: boolean][] = [
    [[group(1, 1, 2)], false, true],
    [[group(1, 1, 2), group(2, 1)], false, false],
    // nobody but the origin listens there
    [[group(1, 1, 2), group(2)], false, true],
    [[group(1, 2), group(2)], true, false],
    // opened when it served already
    [[group(1, 1, 2), group(6, 1)], false, true],
    [[group(1, 2), group(6)], true, true],
  ];
  for (const [groups, canary, started] of cases) assert.equal(hasStarted(second(), groups, canary), started);
  assert.equal(hasStarted({ index: 2 }, [], false), false);
});

test('a worker that has started has also when it closes a server again', () => {
  const [first, second] = [1, 2].map((openedAt) => ({ key: '', openedAt, ready: new Set([1, 2]) }));
  assert.ok(first && second);
  const worker = { index: 2, servedAt: 5 };
  assert.equal(hasStarted(worker, [first, second], false), true);
  second.ready.delete(2);
  assert.equal(hasStarted(worker, [first, second], false), true);
});
