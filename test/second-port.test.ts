// SPDX-License-Identifier: Apache-2.0
// Apps that listen, and look for the port of a second server then: a copy that serves on the first one is not there yet.
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { Started } from '../lib/origin/started';
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
  const all = () => new Set(ledger.entries.map(({ pid }) => pid));
  await until(
    async () => {
      silent.delete(await whoAnswers('http', { port: second, host: '127.0.0.1' }));
      return silent.size === 0;
    },
    () => `answers of ${[...silent]}\n${app.stderr}`,
  );
  // their successors do, and look at the same time
  for (const pid of workers) process.kill(pid, 'SIGKILL');
  const successors = await until(
    () => {
      const pids = [...all()].filter((pid) => pid !== app.pid && !workers.includes(pid));
      return pids.length === 2 && pids.every((pid) => ledger.of(pid).length >= story.length) && pids;
    },
    () => `the successors\n${app.stderr}`,
  );
  for (const pid of successors) assert.deepEqual(ledger.of(pid), story);
  assert.doesNotMatch(app.stderr, /alone/);
}

test('its copies find the same second port', (t) => comesToBoth(t, true));

const bare = new PackageWithoutAddon();
after(() => bare.remove());
describe('without the addon its copies find the same second port', { concurrency: 2 }, () => {
  for (const [means, flags] of Object.entries(bare.means)) test(means, (t) => comesToBoth(t, flags));
});

const group = (key: string, openedAt: number, ...ready: number[]) => ({
  key,
  openedAt,
  ready: new Set(ready),
});
const started = (canary: boolean, ...groups: ReturnType<typeof group>[]) =>
  new Started({ groups: () => groups, canary: () => canary });

test('a worker has started when it listens where the others do that were open before', () => {
  const worker = () => ({ index: 2, servedAt: 5 });
  assert.equal(started(false, group('a', 1, 1, 2)).judge(worker()), true);
  assert.equal(started(false, group('a', 1, 1, 2), group('b', 2, 1)).judge(worker()), false);
  // nobody but the origin listens there
  assert.equal(started(false, group('a', 1, 1, 2), group('b', 2)).judge(worker()), true);
  assert.equal(started(true, group('a', 1, 2), group('b', 2)).judge(worker()), false);
  // opened when it served already
  assert.equal(started(false, group('a', 1, 1, 2), group('b', 6, 1)).judge(worker()), true);
  assert.equal(started(true, group('a', 1, 2), group('b', 6)).judge(worker()), true);
  assert.equal(started(false).judge({ index: 2 }), false);
});

test('where the others listened that have ended counts, too', () => {
  const second = group('b', 2, 1);
  const policy = started(false, group('a', 1, 1), second);
  assert.equal(policy.judge({ index: 1, servedAt: 5 }), true);
  second.ready.clear();
  assert.equal(policy.judge({ index: 1, servedAt: 9 }), false);
});

test('a worker that has started has also when it closes a server again', () => {
  const second = group('b', 2, 1, 2);
  const policy = started(false, group('a', 1, 1, 2), second);
  const worker = { index: 2, servedAt: 5 };
  assert.equal(policy.judge(worker), true);
  second.ready.delete(2);
  assert.equal(policy.judge(worker), true);
});
