// SPDX-License-Identifier: Apache-2.0
// FASTSOCKET_STEER=ip: a client meets the same worker every time for as long as it lives.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type App, type AppOptions, fixture, freePort, startApp, until } from './support/app';
import { link, whyNoNamespaces } from './support/netns';
import { refusing } from './support/refuse';
import { standStill } from './support/tcp-table';
import { temporaryFolder } from './support/temporary';

const WORKERS = 4;
const PORT = 8080;
/** SO_ATTACH_REUSEPORT_CBPF (include/uapi/asm-generic/socket.h). */
const ATTACH = 51;
const ALL_LIVE = new RegExp(`by the client's address, ${WORKERS} of ${WORKERS} workers live`, 'g');

type Call = readonly [from: string, to: string];

interface Started {
  app: App;
  /** While this file is there, workers that start do not listen. */
  hold: string;
}

function start(t: TestContext, host: string, options: AppOptions & { port: number }): Started {
  const folder = temporaryFolder('sticky');
  const hold = join(folder, 'hold');
  const env = { FASTSOCKET_STEER: 'ip', FASTSOCKET_WORKERS: String(WORKERS), HOST: host, HOLD: hold };
  const app = startApp(fixture('sticky-app.js'), { ...options, env });
  t.after(() => app.stop());
  return { app, hold };
}

const timesAllLive = (app: App): number => app.stderr.match(ALL_LIVE)?.length ?? 0;

/** Until all workers have been steered to once more. */
async function allLive(app: App, before = 0): Promise<void> {
  await until(
    () => timesAllLive(app) > before,
    () => `all workers live:\n${app.stderr}`,
    30_000,
  );
}

/** Which process each client is served by; it must be the same one three times. */
async function meet(
  port: number,
  calls: readonly Call[],
  prefix: string[] = [],
): Promise<Map<string, number>> {
  const [command, ...words] = [...prefix, process.execPath, fixture('callers.js')];
  const { stdout } = await promisify(execFile)(command as string, words, {
    env: { ...process.env, PORT: String(port), CALLS: JSON.stringify(calls), COUNT: '3' },
    maxBuffer: 1 << 22,
  });
  const met = new Map<string, number>();
  const lines = stdout.trim().split('\n');
  assert.equal(lines.length, 3 * calls.length);
  for (const line of lines) {
    const [, address = '', pid = ''] = /^(\S+) (\d+)$/.exec(line) ?? [];
    assert.notEqual(pid, '', `no answer: ${line}`);
    assert.equal(met.get(address) ?? Number(pid), Number(pid), `${address} meets two workers`);
    met.set(address, Number(pid));
  }
  return met;
}

/** Kills the worker of most clients. Only they move, and they come back to its successor. Returns where all are then. */
async function loseOne(
  { app, hold }: Started,
  home: ReadonlyMap<string, number>,
  ask: () => Promise<Map<string, number>>,
): Promise<Map<string, number>> {
  const clientsOf = (pid: number) => [...home.values()].filter((other) => other === pid).length;
  const victim = app.workers().sort((a, b) => clientsOf(b) - clientsOf(a))[0] as number;
  const survivors = app.workers().filter((pid) => pid !== victim);
  const [said, times] = [app.stderr.length, timesAllLive(app)];
  writeFileSync(hold, '');
  process.kill(victim, 'SIGKILL');
  await until(
    () => app.stderr.slice(said).includes(`${WORKERS - 1} of ${WORKERS} workers live`),
    () => `one is missed:\n${app.stderr}`,
  );
  for (const [address, pid] of await ask()) {
    if (home.get(address) === victim) assert.ok(survivors.includes(pid), `${address} is served by ${pid}`);
    else assert.equal(pid, home.get(address), `${address} moves without need`);
  }
  rmSync(hold);
  await allLive(app, times);
  const [successor] = app.workers().filter((pid) => !survivors.includes(pid));
  const after = await ask();
  for (const [address, pid] of after)
    assert.equal(pid, home.get(address) === victim ? successor : home.get(address), address);
  return after;
}

test('addresses of loopback: always the same worker, and only clients of a dead one move', async (t) => {
  const port = await freePort();
  const calls = Array.from({ length: 60 }, (_, i) => [`127.0.1.${i + 1}`, '127.0.0.1'] as const);
  const started = start(t, '0.0.0.0', { port });
  await allLive(started.app);
  const ask = () => meet(port, calls);
  const home = await ask();
  assert.deepEqual([...new Set(home.values())].sort(), started.app.workers().sort(), 'everybody serves');
  const after = await loseOne(started, home, ask);

  const times = timesAllLive(started.app);
  process.kill(started.app.pid, 'SIGUSR2');
  await allLive(started.app, times);
  assert.deepEqual(await ask(), after, 'close() and listen() in one tick moves nobody');
});

test("a stopped worker's clients wait for it; when it is dead, others serve them", async (t) => {
  const port = await freePort();
  const { app, hold } = start(t, '0.0.0.0', { port });
  await allLive(app);
  const [from, to] = ['127.0.1.1', '127.0.0.1'];
  const victim = (await meet(port, [[from, to]])).get(from) as number;
  const survivors = app.workers().filter((pid) => pid !== victim);
  await standStill(victim);
  const answers: number[] = [];
  const clients = Array.from({ length: 20 }, () => connect({ port, host: to, localAddress: from }));
  for (const client of clients) {
    t.after(() => client.destroy());
    client.setEncoding('utf8').on('data', (text: string) => answers.push(Number(text)));
  }
  await Promise.all(clients.map((client) => once(client, 'connect')));
  // by chance siblings would have them after 10 ms
  await sleep(500);
  assert.deepEqual(answers, []);
  writeFileSync(hold, '');
  process.kill(victim, 'SIGKILL');
  await until(() => answers.length === clients.length, 'all answers');
  // what no sibling has within 200 ms the origin has
  const by = [...new Set(answers)];
  assert.ok(
    by.some((pid) => survivors.includes(pid)) && by.every((pid) => [...survivors, app.pid].includes(pid)),
    `${by}`,
  );
});

test('IPv4 and IPv6 on one socket: an address of the one, a /64 of the other, is one client', {
  skip: whyNoNamespaces() ?? false,
}, async (t) => {
  const { server, client, address } = link(t, '0');
  const six = 'fd00:77:ffff::1';
  const networks = Array.from({ length: 60 }, (_, i) => `fd00:77:0:${(i + 1).toString(16)}`);
  const four = Array.from({ length: 60 }, (_, i) => `10.77.0.${i + 10}`);
  const add = (lines: string[]) => lines.map((line) => `ip ${line}`).join('\n');
  server.run('sh', '-ec', add([`addr add ${six}/64 dev veth0 nodad`, 'route add fd00:77::/48 dev veth0']));
  client.run(
    'sh',
    '-ec',
    add([
      ...four.map((one) => `addr add ${one}/24 dev veth0`),
      ...networks.flatMap((network) => [1, 2].map((n) => `addr add ${network}::${n}/64 dev veth0 nodad`)),
      'route add fd00:77:ffff::/64 dev veth0',
    ]),
  );
  const started = start(t, '::', { port: PORT, prefix: server.prefix });
  await allLive(started.app);
  const calls: Call[] = [
    ...four.map((one) => [one, address] as const),
    ...networks.flatMap((network) => [1, 2].map((n) => [`${network}::${n}`, six] as const)),
  ];
  const ask = () => meet(PORT, calls, client.prefix);
  const home = await ask();
  for (const network of networks)
    assert.equal(home.get(`${network}::1`), home.get(`${network}::2`), `two addresses of ${network}::/64`);
  const everybody = started.app.workers().sort();
  for (const family of ['.', ':']) {
    const met = [...home].filter(([from]) => from.includes(family)).map(([, pid]) => pid);
    assert.deepEqual([...new Set(met)].sort(), everybody, `everybody serves ${family}`);
  }
  await loseOne(started, home, ask);
});

test('where the kernel takes no program it says so, and serves', async (t) => {
  const port = await freePort();
  const { app } = start(t, '0.0.0.0', { port, prefix: refusing(`setsockopt:2=${ATTACH}:EPERM`) });
  await app.said(/not by the client's address: the kernel takes no steering program \(errno 1\)/, 30_000);
  const [answer] = await once(connect(port, '127.0.0.1').setEncoding('utf8'), 'data');
  assert.match(answer, /^\d+\n$/);
});
