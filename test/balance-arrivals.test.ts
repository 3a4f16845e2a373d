// SPDX-License-Identifier: Apache-2.0
// Local and remote connections as the workers tell them, against what the app sees of each.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { type App, fixture, freePort, startApp, until } from './support/app';
import { figures } from './support/balance';
import { link, whyNoNamespaces } from './support/netns';
import { across, PORT, visit } from './support/visits';

const oneCpu = availableParallelism() < 2 && 'needs two CPUs';
const skip = whyNoNamespaces() ?? oneCpu;
/** Few enough for every one to be looked at (DENSE in lib/group/arrivals.ts). */
const COUNT = 400;
const MOST_ROUNDS = 20;

async function start(
  t: TestContext,
  port: number,
  prefix: string[],
  env: Record<string, string> = {},
): Promise<App> {
  const app = startApp(fixture('locality-app.js'), {
    port,
    prefix,
    env: { FASTSOCKET_STEER: 'hash', ADDON: addonPath(), ...env },
  });
  t.after(() => app.stop());
  await app.said(/worker 1 is ready/);
  await app.said(/worker 2 is ready/);
  return app;
}

interface Arrivals {
  local: number;
  remote: number;
}

async function arrivals(app: App): Promise<Arrivals> {
  const { seats } = await figures({ app });
  const sum = (which: keyof Arrivals) => seats.reduce((total, seat) => total + seat[which], 0);
  return { local: sum('local'), remote: sum('remote') };
}

/** Waits for all of them to be told, and for any that are too many. */
async function told(app: App, expected: Arrivals): Promise<void> {
  const all = expected.local + expected.remote;
  let now = await arrivals(app);
  await until(
    async () => {
      now = await arrivals(app);
      return now.local + now.remote >= all;
    },
    () => `${JSON.stringify(now)} instead of ${JSON.stringify(expected)}`,
  );
  assert.deepEqual(now, expected);
}

test('where the packets of connections have arrived, and once each after reloads', { skip }, async (t) => {
  const net = link(t, '3');
  const app = await start(t, PORT, net.server.prefix);
  const first = await visit(across(net), COUNT);
  const expected = { local: first.local, remote: COUNT - first.local };
  t.diagnostic(JSON.stringify(expected));
  assert.ok(expected.local > 0 && expected.remote > 0);
  await told(app, expected);
  const said = (pattern: RegExp): number => app.stderr.match(pattern)?.length ?? 0;
  const parked = () => said(/waits for the origin/g);
  for (let round = 0; round < MOST_ROUNDS && parked() < 4; round++) {
    const ready = said(/worker \d is ready on/g);
    process.kill(app.pid, 'SIGHUP');
    await until(() => said(/worker \d is ready on/g) >= ready + 2, 'all listen again');
  }
  assert.ok(parked() > 0, 'somebody had to wait for the origin');
  const second = await visit(across(net), COUNT);
  await told(app, {
    local: expected.local + second.local,
    remote: expected.remote + COUNT - second.local,
  });
});

test('where it runs anywhere nothing is local, and nothing remote', { skip }, async (t) => {
  const net = link(t, '3');
  const app = await start(t, PORT, net.server.prefix, { FASTSOCKET_PIN: 'off' });
  await visit(across(net), COUNT);
  await assertNone(app);
});

test('on loopback a packet arrives on the CPU of its sender: it counts for nothing', {
  skip: oneCpu,
}, async (t) => {
  const port = await freePort('127.0.0.1');
  const app = await start(t, port, []);
  await visit({ host: '127.0.0.1', port, prefix: [] }, COUNT);
  await assertNone(app);
});

/** All have been accepted, and the workers have had the time to tell (REPORT_MS in lib/group/arrivals.ts). */
async function assertNone(app: App): Promise<void> {
  const end = Date.now() + 700;
  await until(async () => {
    const { seats } = await figures({ app });
    return Date.now() > end && seats.reduce((sum, seat) => sum + seat.accepted, 0) >= COUNT;
  }, 'all accepted');
  assert.deepEqual(await arrivals(app), { local: 0, remote: 0 });
}
