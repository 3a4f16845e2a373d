// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { addonPath } from './support/addon';
import { type App, fixture, startApp, until } from './support/app';
import { type Link, link, whyNoNamespaces } from './support/netns';

const skip = whyNoNamespaces() ?? (availableParallelism() < 2 && 'needs two CPUs');
const PORT = 8080;
const COUNT = 2_000;
/** What `auto` has to see before it steers by CPU, and the time its reports take. */
const WARM_UP = 600;

interface Visits {
  local: number;
  byPid: Map<string, number>;
}

/** What `count` short connections from the client's namespace were told. */
async function visit(net: Link, count: number, env: Record<string, string> = {}): Promise<Visits> {
  const [command, ...words] = [...net.client.prefix, process.execPath, fixture('visitor.js')];
  const { stdout } = await promisify(execFile)(command as string, words, {
    env: {
      ...process.env,
      HOST: net.address,
      PORT: String(PORT),
      COUNT: String(count),
      ADDON: addonPath(),
      ...env,
    },
    maxBuffer: 1 << 24,
  });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  assert.equal(
    lines.filter(([pid]) => /^\d+$/.test(pid ?? '')).length,
    count,
    `all are answered: ${lines[0]}`,
  );
  const byPid = new Map<string, number>();
  for (const [pid = ''] of lines) byPid.set(pid, (byPid.get(pid) ?? 0) + 1);
  return { local: lines.filter(([, cpu, core]) => cpu === core).length, byPid };
}

function start(t: TestContext, net: Link, steer: string): App {
  const app = startApp(fixture('locality-app.js'), {
    port: PORT,
    prefix: net.server.prefix,
    env: { FASTSOCKET_STEER: steer, ADDON: addonPath() },
  });
  t.after(() => app.stop());
  return app;
}

const both = (app: App) =>
  until(
    () =>
      /worker 1 is ready[\s\S]*worker 2 is ready|worker 2 is ready[\s\S]*worker 1 is ready/.test(app.stderr),
    `two workers:\n${app.stderr}`,
  );

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
    const app = start(t, net, steer);
    await both(app);
    if (steer === 'auto') {
      await until(async () => {
        await visit(net, WARM_UP);
        return /steering: .*by CPU/.test(app.stderr);
      }, `steering by CPU:\n${app.stderr}`);
    }
    const visits = await visit(net, COUNT);
    assert.equal(visits.local, COUNT);
    assertShared(visits, COUNT);
  });
}

test('by hash about half are served where they arrive: the control', { skip }, async (t) => {
  const net = link(t, '3');
  await both(start(t, net, 'hash'));
  const visits = await visit(net, COUNT);
  // binomial, 2,000 draws at one half: 45-55 % is 4.5 standard deviations
  assert.ok(visits.local > COUNT * 0.45 && visits.local < COUNT * 0.55, `${visits.local} local`);
  assertShared(visits, COUNT);
});

test('packets that all arrive on one CPU: both workers serve all the same', { skip }, async (t) => {
  const net = link(t, '1');
  const app = start(t, net, 'auto');
  await both(app);
  for (let round = 0; round < 4; round++) await visit(net, WARM_UP);
  assertShared(await visit(net, COUNT), COUNT);
});
