// SPDX-License-Identifier: Apache-2.0
// Connections are served on the CPU where their packets arrive, if they arrive on several, and evenly if they do not.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { type App, fixture, freePort, startApp, until } from './support/app';
import { figures, stolen } from './support/balance';
import { link, whyNoNamespaces } from './support/netns';
import { across, type Place, PORT, type Visits, visit } from './support/visits';

const oneCpu = availableParallelism() < 2 && 'needs two CPUs';
const skip = whyNoNamespaces() ?? oneCpu;
const COUNT = 2_000;
/**
 * `auto` steers evenly until it has seen 200 arrivals (MIN_SAMPLES in lib/steering/policy.ts), and workers report theirs
 * four times a second. Connections count from the moment that the log says "by CPU"; with `cpu` from the first on.
 */
const WARM_UP = 600;
const BY_CPU = /steering: \S+: by CPU,/;

/** Without balancing unless a test is about that: a worker that the machine gives no CPU is helped by its sibling. */
async function start(
  t: TestContext,
  steer: string,
  port = PORT,
  prefix: string[] = [],
  balance = 'off',
): Promise<App> {
  const app = startApp(fixture('locality-app.js'), {
    port,
    prefix,
    env: { FASTSOCKET_STEER: steer, FASTSOCKET_BALANCE: balance, ADDON: addonPath() },
  });
  t.after(() => app.stop());
  await app.said(/worker 1 is ready/);
  await app.said(/worker 2 is ready/);
  return app;
}

function assertShared({ byPid }: Visits, count: number): void {
  assert.equal(byPid.size, 2, `${[...byPid]}`);
  for (const [pid, served] of byPid)
    assert.ok(served >= count * 0.4 && served <= count * 0.6, `${pid} served ${served}`);
}

for (const steer of ['auto', 'cpu']) {
  test(`packets that arrive on both CPUs: every connection is served where it arrives (${steer})`, {
    skip,
  }, async (t) => {
    const net = link(t, '3');
    const app = await start(t, steer, PORT, net.server.prefix);
    if (steer === 'auto') {
      await until(async () => {
        await visit(across(net), WARM_UP);
        return BY_CPU.test(app.stderr);
      }, `steering by CPU:\n${app.stderr}`);
    }
    const visits = await visit(across(net), COUNT);
    assert.equal(visits.local, COUNT, `${visits.remote}\n${app.stderr}`);
    assertShared(visits, COUNT);
  });
}

test('with the balancing what is not served where it arrives has been stolen, and nothing is shared out', {
  skip,
}, async (t) => {
  const net = link(t, '3');
  const app = await start(t, 'auto', PORT, net.server.prefix, 'on');
  await until(async () => {
    await visit(across(net), WARM_UP);
    return BY_CPU.test(app.stderr);
  }, `steering by CPU:\n${app.stderr}`);
  const before = stolen(await figures({ app }));
  const visits = await visit(across(net), COUNT);
  const taken = stolen(await figures({ app })) - before;
  t.diagnostic(`${visits.local} of ${COUNT} local, ${taken} stolen`);
  // a worker that is excluded for a moment has its share drawn among the others, which is no theft
  if ((await figures({ app })).swaps === 0) assert.ok(COUNT - visits.local <= taken, `${visits.remote}`);
});

test('by hash about half are served where they arrive: the control', { skip }, async (t) => {
  const net = link(t, '3');
  await start(t, 'hash', PORT, net.server.prefix);
  const visits = await visit(across(net), COUNT);
  // binomial, 2,000 draws at one half: 45-55 % is 4.5 standard deviations
  assert.ok(visits.local > COUNT * 0.45 && visits.local < COUNT * 0.55, `${visits.local} local`);
  assertShared(visits, COUNT);
});

/** `auto` sees much more than it needs for a decision, and both workers go on serving. */
async function assertStaysEven(place: Place): Promise<void> {
  for (let seen = 0; seen < 4 * WARM_UP; seen += WARM_UP) {
    await visit(place, WARM_UP);
  }
  assertShared(await visit(place, COUNT), COUNT);
}

test('packets that all arrive on one CPU: both workers serve all the same', { skip }, async (t) => {
  const net = link(t, '1');
  await start(t, 'auto', PORT, net.server.prefix);
  await assertStaysEven(across(net));
});

test('loopback, where a packet arrives on the CPU of its sender: both workers serve', {
  skip: oneCpu,
}, async (t) => {
  const place = { host: '127.0.0.1', port: await freePort('127.0.0.1'), prefix: [] };
  const app = await start(t, 'auto', place.port);
  await assertStaysEven(place);
  assert.doesNotMatch(app.stderr, BY_CPU);
});
