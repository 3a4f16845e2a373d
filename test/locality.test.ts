// SPDX-License-Identifier: Apache-2.0
// Connections are served on the CPU where their packets arrive, if they arrive on several, and evenly if they do not.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { type App, fixture, freePort, startApp, until } from './support/app';
import { type Figures, figures, stolen } from './support/balance';
import { link, whyNoNamespaces } from './support/netns';
import { across, type Place, PORT, type Visits, visit } from './support/visits';

const oneCpu = availableParallelism() < 2 && 'needs two CPUs';
const skip = whyNoNamespaces() ?? oneCpu;
const COUNT = 2_000;
/**
 * `auto` steers evenly until it has seen 200 arrivals (MIN_SAMPLES in lib/steering/arrivals.ts), and workers report theirs
 * four times a second. Connections count from the moment that the log says "by CPU"; with `cpu` from the first on.
 */
const WARM_UP = 600;
const BY_CPU = /steering: \S+: by CPU,/;
/** Connections at a time, few enough that the machine has time left. */
const FEW = 2;
/** What a worker that others leave no CPU has had stolen from it is no figure of the steering; it is measured again. */
const TRIES = 5;

/** Without balancing, for tests that are not about that: a worker that the machine gives no CPU is helped by its sibling. */
const unbalanced = (steer: string) => ({ FASTSOCKET_STEER: steer, FASTSOCKET_BALANCE: 'off' });

/** @param settings the defaults where there are none */
async function start(
  t: TestContext,
  settings: Record<string, string>,
  port = PORT,
  prefix: string[] = [],
): Promise<App> {
  const app = startApp(fixture('locality-app.js'), {
    port,
    prefix,
    env: { ...settings, ADDON: addonPath() },
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

/** Makes connections until `auto` has seen enough of them. */
async function byCpu(app: App, place: Place): Promise<void> {
  await until(
    async () => {
      await visit(place, WARM_UP);
      return BY_CPU.test(app.stderr);
    },
    () => `steering by CPU:\n${app.stderr}`,
  );
}

interface Measure {
  visits: Visits;
  before: Figures;
  after: Figures;
}

/** Visits of a machine that has time left, until one of the measures is as it should be; the last of them where none is. */
async function calmly(app: App, place: Place, good: (measure: Measure) => boolean): Promise<Measure> {
  for (let tries = 1; ; tries++) {
    const before = await figures({ app });
    const visits = await visit(place, COUNT, FEW);
    const measure = { visits, before, after: await figures({ app }) };
    if (good(measure) || tries === TRIES) return measure;
  }
}

for (const steer of ['auto', 'cpu']) {
  test(`packets that arrive on both CPUs: every connection is served where it arrives (${steer})`, {
    skip,
  }, async (t) => {
    const net = link(t, '3');
    const app = await start(t, unbalanced(steer), PORT, net.server.prefix);
    if (steer === 'auto') await byCpu(app, across(net));
    const visits = await visit(across(net), COUNT);
    assert.equal(visits.local, COUNT, `${visits.remote}\n${app.stderr}`);
    assertShared(visits, COUNT);
  });
}

test('packets that arrive on both CPUs: with all settings at their defaults 99 % are served where they arrive', {
  skip,
}, async (t) => {
  const net = link(t, '3');
  const app = await start(t, {}, PORT, net.server.prefix);
  await byCpu(app, across(net));
  const { visits } = await calmly(app, across(net), ({ visits }) => visits.local >= COUNT * 0.99);
  t.diagnostic(`${visits.local} of ${COUNT} local`);
  assert.deepEqual([...visits.arrivedOn].sort(), ['0', '1']);
  assert.ok(visits.local >= COUNT * 0.99, `${visits.local} local\n${app.stderr}`);
  assertShared(visits, COUNT);
});

test('with the balancing what is not served where it arrives has been stolen, and nothing is shared out', {
  skip,
}, async (t) => {
  const net = link(t, '3');
  const app = await start(t, {}, PORT, net.server.prefix);
  await byCpu(app, across(net));
  const before = stolen(await figures({ app }));
  const visits = await visit(across(net), COUNT);
  const taken = stolen(await figures({ app })) - before;
  t.diagnostic(`${visits.local} of ${COUNT} local, ${taken} stolen`);
  // a worker that is excluded for a moment has its share drawn among the others, which is no theft
  if ((await figures({ app })).swaps === 0) assert.ok(COUNT - visits.local <= taken, `${visits.remote}`);
});

test('by hash about half are served where they arrive: the control', { skip }, async (t) => {
  const net = link(t, '3');
  await start(t, unbalanced('hash'), PORT, net.server.prefix);
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

const shareOf = ({ byPid }: Visits): number => Math.max(...byPid.values()) / COUNT;

for (const [what, settings, least, most] of [
  // binomial, 2,000 draws at one half: 55 % is 4.5 standard deviations
  ['with all settings at their defaults both workers serve half of them after a second', {}, 0.5, 0.55],
  ['by CPU alone one serves them all: the control', { FASTSOCKET_STEER: 'cpu' }, 0.98, 1],
] as const)
  test(`packets that all arrive on one CPU: ${what}`, { skip }, async (t) => {
    const net = link(t, '1');
    const app = await start(t, settings, PORT, net.server.prefix);
    for (const end = performance.now() + 1_000; performance.now() < end; )
      await visit(across(net), WARM_UP / 3, FEW);
    const { visits, before, after } = await calmly(
      app,
      across(net),
      ({ visits, before, after }) => shareOf(visits) <= most && stolen(after) - stolen(before) < COUNT / 100,
    );
    t.diagnostic(`${[...visits.byPid.values()]}, ${stolen(after) - stolen(before)} stolen`);
    assert.deepEqual([...visits.arrivedOn], ['0']);
    const share = shareOf(visits);
    assert.ok(share >= least && share <= most, `${[...visits.byPid]}\n${app.stderr}`);
  });

test('loopback, where a packet arrives on the CPU of its sender: both workers serve', {
  skip: oneCpu,
}, async (t) => {
  const place = { host: '127.0.0.1', port: await freePort('127.0.0.1'), prefix: [] };
  const app = await start(t, unbalanced('auto'), place.port);
  await assertStaysEven(place);
  assert.doesNotMatch(app.stderr, BY_CPU);
});
