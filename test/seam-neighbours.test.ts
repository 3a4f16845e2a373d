// SPDX-License-Identifier: Apache-2.0
// The seam in processes that share what they have with others, or that are not quite as Node made them.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { addonPath } from './support/addon';
import { answering, fixture, freePort, request, startApp, until } from './support/app';
import { noLookInto } from './support/descriptors';
import { clients, noDelays, type Told } from './support/neighbours';
import { Namespace, whyNoNamespaces } from './support/netns';
import { startOneProcess } from './support/one-process';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
/** Connections a round. */
const EACH = 100;
const noStrace = spawnSync('strace', ['-V']).status === 0 ? false : 'there is no strace';

const start = (t: TestContext, mode: string, hook: boolean, env: Record<string, string> = {}) =>
  startOneProcess(t, 'seam-neighbours.js', { mode, hook, env });

test("a cluster's primary leaves TCP_NODELAY of the connections that it hands out alone", {
  skip: noLookInto,
}, async (t) => {
  for (const hook of [false, true]) {
    const app = await start(t, 'cluster', hook);
    assert.deepEqual(noDelays(await clients(t, app, 200)), { on: 200 }, hook ? 'the hook' : 'plain Node');
    await app.stop();
  }
});

for (const [when, env, first] of [
  ['from the start', { SENT_AFTER_MS: '0' }, 0],
  ['after some have been accepted', { SENT_AFTER_MS: '500' }, 20],
] as const) {
  test(`a server that a child has, too, ${when}: TCP_NODELAY as each of them asks for it`, {
    skip: noLookInto,
  }, async (t) => {
    for (const hook of [false, true]) {
      const app = await start(t, 'sent', hook, env);
      assert.deepEqual(noDelays(await clients(t, app, first)), first > 0 ? { on: first } : {});
      await until(() => app.stdout.includes('received'), 'a child that accepts');
      const told = await clients(t, app, 1_000);
      const own = told.filter(({ pid }) => pid === app.pid);
      const others = told.filter(({ pid }) => pid !== app.pid);
      t.diagnostic(`${hook ? 'hook' : 'plain'}: ${own.length} and ${others.length} connections`);
      assert.deepEqual(noDelays(own), { on: own.length });
      assert.deepEqual(noDelays(others), { off: others.length });
      await app.stop();
    }
  });
}

test('FASTSOCKET_SEAM=off holds for threads with an environment of their own', async (t) => {
  for (const [seam, type] of [
    ['off', 'number'],
    ['on', 'object'],
  ] as const) {
    const app = await start(t, 'thread', true, { FASTSOCKET_SEAM: seam, ADDON: addonPath() });
    const [, found] = await until(
      () => /seam in the thread: (\w+)/.exec(app.stdout),
      'a listener in the thread',
    );
    assert.equal(found, type, seam);
  }
});

test('where the kernel moves connections between listeners nothing is taken for inherited', {
  skip: whyNoNamespaces(),
}, async (t) => {
  const namespace = new Namespace(t, 'migrate');
  namespace.sysctl('net.ipv4.tcp_migrate_req', 1);
  const app = startApp(fixture('seam-app.js'), {
    port: 8080,
    prefix: namespace.prefix,
    env: { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on' },
  });
  t.after(() => app.stop());
  await app.said(/seam: batch, read, fds/);
});

test("an app that has put a clock of its own in the place of Node's", async (t) => {
  const app = await start(t, 'clock', true);
  assert.ok(!/^fastsocket: /m.test(app.stderr), app.stderr);
  assert.equal((await clients(t, app, 10)).length, 10);
});

test('an app that wants TCP_NODELAY for every second connection: the listener soon stays as it is', {
  skip: noStrace || noLookInto,
}, async (t) => {
  const folder = temporaryFolder('strace');
  for (const hook of [false, true]) {
    const file = join(folder, `calls-${hook}`);
    const calls = () =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.includes('TCP_')).length;
    const app = await start(t, 'mixed', hook);
    const strace = spawn('strace', ['-o', file, '-e', 'trace=setsockopt,getsockopt', '-p', String(app.pid)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    t.after(() => strace.kill());
    await once(strace.stderr, 'data');
    const told: Told[] = [];
    const rounds: number[] = [];
    // The listener changes eight times to and fro (kMostFlips), each time for those that come after what is in the
    // queue (all of a round on a slow machine), and looks at as many and kRacing more: within 1,900 it stays.
    while (rounds.at(-1) !== EACH / 2 && rounds.length < 20) {
      const before = calls();
      told.push(...(await clients(t, app, EACH)));
      // strace writes what it has seen when the call has returned
      await sleep(20);
      rounds.push(calls() - before);
    }
    t.diagnostic(`${hook ? 'hook' : 'plain'}: ${rounds.join(', ')}`);
    assert.equal(rounds.at(-1), EACH / 2);
    assert.deepEqual(noDelays(told), { on: told.length / 2, off: told.length / 2 });
    await app.stop();
  }
});

test('idle without descriptors: the event loop says that it is idle', async (t) => {
  const port = await freePort(HOST);
  const app = startApp(fixture('seam-idle.js'), {
    port,
    prefix: ['bash', '-c', 'ulimit -n 64; exec "$@"', 'limited'],
    env: { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', ADDON: addonPath() },
  });
  t.after(() => app.stop());
  await until(() => app.stdout.includes('listening'), 'a listener');
  const sockets = Array.from({ length: 100 }, () => connect(port, HOST).on('error', () => {}));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  const [, utilization, outOfFds] = await until(
    () => /utilization (\S+), (\d+)/.exec(app.stdout),
    'its utilization',
  );
  assert.ok(Number(outOfFds) > 3, `out of descriptors ${outOfFds} times`);
  assert.ok(Number(utilization) < 0.3, `utilization ${utilization}`);
});

test('clients that connect and speak later: first reads are not tried on and on', async (t) => {
  const port = await freePort(HOST);
  const app = startApp(fixture('seam-app.js'), {
    port,
    env: { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', ADDON: addonPath() },
  });
  t.after(() => app.stop());
  await answering(port, HOST);
  const late = async () => {
    const socket = connect(port, HOST);
    await once(socket, 'connect');
    // longer than a busy machine takes to accept all of a round
    await sleep(100);
    socket.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n').resume();
    await once(socket, 'close');
  };
  for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 100 }, late));
  const text = await request(port, '/stats', HOST);
  const { accepted, firstReads } = JSON.parse(/\{.*\}/.exec(text)?.[0] as string);
  assert.ok(accepted >= 2_000);
  assert.ok(firstReads < accepted / 4, `${firstReads} of ${accepted}`);
});
