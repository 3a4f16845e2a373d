// SPDX-License-Identifier: Apache-2.0
// Whether replies come home, over a real kernel: two namespaces, a veth pair, two CPUs that receive. Shares are counted by
// the kernel's own word (SO_INCOMING_CPU) for each connection, in each worker.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { fixture, startApp, until } from './support/app';
import { compiled } from './support/compiled';
import { type Destination, peer } from './support/connector';
import { link, type Namespace, whyNoNamespaces } from './support/netns';

const PORT = 9001;
const skip = whyNoNamespaces() ?? (availableParallelism() < 2 ? 'needs two CPUs' : false);

interface Report {
  core: number;
  /** Of the last ones, and of all. */
  local: number;
  all: number;
  failed: number;
  ended: number;
  ports: number[];
  state: Destination & { mode: string; why: string };
}

interface Work {
  namespace: Namespace;
  address: string;
  mode: string;
  total: number;
  wide?: number;
  held?: number;
  pauseMs?: number;
}

/** What two workers say when each has made its connections. */
async function reports(t: TestContext, work: Work): Promise<Report[]> {
  const { namespace, address, mode, total, wide = 8, held = 0, pauseMs = 0 } = work;
  const app = startApp(fixture('connect-home.js'), {
    port: 9500,
    prefix: namespace.prefix,
    env: {
      TARGET: `${address} ${PORT}`,
      TOTAL: `${total}`,
      WIDE: `${wide}`,
      HELD: `${held}`,
      LAST: '200',
      PAUSE_MS: `${pauseMs}`,
      ADDON: addonPath(),
      FASTSOCKET_CONNECT: mode,
      FASTSOCKET_WORKERS: '2',
    },
  });
  t.after(() => app.stop());
  const said = await until(
    () => {
      const lines = app.stdout.split('\n').filter(Boolean);
      return lines.length === 2 ? lines : undefined;
    },
    () => `two reports:\n${app.stdout}\n${app.stderr}`,
    60_000,
  );
  await app.stop();
  const list = said.map((line) => JSON.parse(line) as Report);
  for (const { failed, core } of list) assert.equal(failed, 0, `failed on core ${core}`);
  assert.deepEqual(list.map(({ core }) => core).sort(), [0, 1]);
  t.diagnostic(
    list
      .map(
        ({ core, local, all, state }) =>
          `core ${core}: ${local} (${all.toFixed(3)}), ${state.mode}: ${state.why}`,
      )
      .join('; '),
  );
  return list;
}

/** Attaches a program of test/native/attach.c for the length of the test; why that cannot be done, where it cannot. */
async function attach(t: TestContext, namespace: Namespace, ...words: string[]): Promise<string | undefined> {
  const [command, ...rest] = [...namespace.prefix, compiled('attach'), ...words];
  const child = spawn(command as string, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
  t.after(() => child.kill());
  let error = '';
  child.stderr.on('data', (data) => {
    error += data;
  });
  const [first] = (await Promise.race([once(child.stdout, 'data'), once(child, 'close')])) as [unknown];
  return String(first).startsWith('attached') ? undefined : error.trim() || 'it ended';
}

/** Replies are spread over both CPUs by `rps` at our end. */
async function place(
  t: TestContext,
  rps: string,
): Promise<{ namespace: Namespace; far: Namespace; address: string }> {
  const { server, client, address } = link(t, '0');
  client.run('sh', '-c', `for q in /sys/class/net/veth0/queues/rx-*; do echo ${rps} > $q/rps_cpus; done`);
  // an interface is not listed before it runs, up to a second after it was set up (net/core/link_watch.c)
  for (const end of [server, client])
    await until(() => end.run('cat', '/sys/class/net/veth0/operstate').trim() === 'up', 'the link is up');
  await peer(t, server, [PORT]);
  return { namespace: client, far: server, address };
}

test('learn: a port whose packets came home once is taken again, and they do', { skip }, async (t) => {
  const { namespace, far, address } = await place(t, '3');
  for (const end of [namespace, far]) {
    const why = await attach(t, end, 'nohash', 'veth0');
    if (why !== undefined) return t.skip(why);
  }
  for (const held of [0, 100]) {
    await t.test(`${held} held`, async (t) => {
      const total = 5 * (held + 200) + held;
      const list = await reports(t, { namespace, address, mode: 'learn', total, held, wide: 4, pauseMs: 4 });
      for (const { local, state, ports } of list) {
        assert.equal(state.mode, 'learn', state.why);
        // a server that has closed first remembers a connection for a minute: no port is taken again at once
        const distinct = new Set(ports.slice(-200)).size;
        assert.ok(distinct >= 60, `${distinct} ports for 200 connections`);
        assert.ok(local >= 0.95, `${local} of the last 200 came home`);
      }
    });
  }
});

test('where the CPU of a port is random, learn notices and stops', { skip }, async (t) => {
  const { namespace, address } = await place(t, '3');
  // of two workers one may be lucky for a while: both have to be right about themselves
  for (const { state, ended } of await reports(t, {
    namespace,
    address,
    mode: 'learn',
    total: 1_000,
    pauseMs: 4,
  })) {
    assert.equal(state.mode, 'any', `after ${ended}: ${state.why}`);
    assert.match(state.why, /learn: \d+ % of \d+ came home/);
  }
});

const FLOWS = '/proc/sys/net/core/rps_sock_flow_entries';

/** Receive flow steering (Documentation/networking/scaling.rst): packets go where the connection was last read. */
function flowSteering(t: TestContext, namespace: Namespace): string | undefined {
  let before: string;
  try {
    before = readFileSync(FLOWS, 'utf8').trim();
    writeFileSync(FLOWS, '32768');
  } catch (error) {
    return (error as Error).message;
  }
  t.after(() => writeFileSync(FLOWS, before));
  namespace.run(
    'sh',
    '-c',
    'for q in /sys/class/net/veth0/queues/rx-*; do echo 32768 > $q/rps_flow_cnt; done',
  );
  return undefined;
}

test('auto leaves alone what comes home by itself', { skip }, async (t) => {
  const { namespace, address } = await place(t, '3');
  const why = flowSteering(t, namespace);
  if (why !== undefined) return t.skip(why);
  for (const { state } of await reports(t, { namespace, address, mode: 'auto', total: 600, pauseMs: 4 })) {
    assert.equal(state.mode, 'any');
    assert.match(state.why, /come home by themselves/);
  }
});

test('rfd: an XDP program that goes by the hash of the port is believed, and verified', {
  skip,
}, async (t) => {
  const { namespace, far, address } = await place(t, '0');
  // the program's CPU map needs whole packets (design: on veth the peer's transmit offload must be off)
  far.run('ethtool', '-K', 'veth0', 'tx', 'off');
  const why = await attach(t, namespace, 'rfd', 'veth0', '2');
  if (why !== undefined) return t.skip(why);
  for (const mode of ['rfd', 'auto']) {
    await t.test(mode, async (t) => {
      for (const { local, state } of await reports(t, { namespace, address, mode, total: 800, pauseMs: 4 })) {
        assert.equal(state.mode, 'rfd', state.why);
        assert.equal(local, 1, `${local} of the last 200 came home`);
      }
    });
  }
});

test('a mode that is not possible here says why, and costs nothing', { skip }, async (t) => {
  const { namespace, address } = await place(t, '3');
  for (const [mode, why] of [
    ['rss', /^not possible here: rss: veth0 /],
    ['rfd', /^not possible here: rfd: no XDP program on veth0$/],
  ] as const) {
    for (const { state } of await reports(t, { namespace, address, mode, total: 400, pauseMs: 8 })) {
      assert.equal(state.mode, 'any');
      assert.match(state.why, why);
    }
  }
});
