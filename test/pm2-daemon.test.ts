// SPDX-License-Identifier: Apache-2.0
// PM2's cluster mode with the flag in PM2_NODE_OPTIONS when its daemon starts: workers have sockets of their own.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Customers } from './support/accounts';
import { freePort, hook, until } from './support/app';
import { noneLeft, portFree } from './support/ending';
import { answerers, facts, Pm2 } from './support/pm2';

const HOST = '127.0.0.1';
const QUESTIONS = 48;
const pm2 = new Pm2({ PM2_NODE_OPTIONS: `-r ${hook}` });
after(() => pm2.end());

const cluster = (name: string, port: number) => ({ name, port, exec_mode: 'cluster', instances: 2 });

/** What `f` does it does while PM2's daemon is stopped: by round robin nobody would be answered. */
async function withoutDaemon<T>(f: () => Promise<T>): Promise<T> {
  process.kill(pm2.daemon, 'SIGSTOP');
  try {
    return await f();
  } finally {
    process.kill(pm2.daemon, 'SIGCONT');
  }
}

/** Waits until both workers, none of them among `others`, are served from sockets of their own; gives their pids. */
async function own(port: number, others: number[] = []): Promise<number[]> {
  const workers = await answerers(port, 2, ({ pid, active }) => active && !others.includes(pid));
  for (const { reason, parent } of workers) {
    assert.equal(reason, undefined);
    assert.equal(parent, pm2.daemon);
  }
  return workers.map(({ pid }) => pid);
}

/** The CPUs of the two workers, none of which is among `others`, when there are so many as `count`. */
async function cores(port: number, count: number, others: number[] = []): Promise<(number | undefined)[]> {
  return until(async () => {
    const workers = await answerers(port, 2, ({ pid }) => !others.includes(pid));
    const found = new Set(workers.map(({ core }) => core));
    found.delete(undefined);
    return found.size === count && [...found].sort();
  }, `${count} CPUs`);
}

async function answeredWithoutDaemon(port: number): Promise<number[]> {
  const said = await withoutDaemon(() => Promise.all(Array.from({ length: QUESTIONS }, () => facts(port))));
  for (const { accepted } of said) assert.ok(accepted > 0);
  return [...new Set(said.map(({ pid }) => pid))].sort((a, b) => a - b);
}

test('connections do not pass through the daemon', async () => {
  const port = await freePort(HOST);
  await pm2.start(cluster('direct', port));
  const workers = await own(port);
  assert.deepEqual(await answeredWithoutDaemon(port), workers);
  await pm2.run(['stop', 'direct']);
  assert.ok(await portFree(port));
  await noneLeft(workers);
});

for (const wait of [false, true]) {
  test(`reload under load, ${wait ? 'wait_ready' : "by 'listening'"}: nobody is refused or lost`, async (t) => {
    const name = wait ? 'reload-ready' : 'reload';
    const port = await freePort(HOST);
    await pm2.start({
      ...cluster(name, port),
      // without the word or the event the command would take longer than it may
      listen_timeout: 120_000,
      ...(wait ? { wait_ready: true } : {}),
      env: { LEAVES: 'signal' },
    });
    const before = await own(port);
    const pins = /; pinned/.test(pm2.log);
    const placed = await cores(port, pins ? 2 : 0);
    const customers = new Customers(port, 8);
    await until(() => customers.outcomes.length > 100, 'answers');
    await pm2.run(['reload', name]);
    const next = await own(port, before);
    await customers.stop();
    const ends = customers.outcomes.map(({ end }) => end);
    t.diagnostic(`${ends.length} requests`);
    assert.deepEqual([...new Set(ends)], ['answered']);
    await noneLeft(before);
    assert.deepEqual(await answeredWithoutDaemon(port), next);
    assert.deepEqual(await cores(port, pins ? 2 : 0, before), placed);
    await pm2.run(['delete', name]);
  });
}

test('a worker that is killed: PM2 starts another one, which has a socket of its own', async () => {
  const port = await freePort(HOST);
  await pm2.start(cluster('killed', port));
  const [victim = 0, other] = await own(port);
  process.kill(victim, 'SIGKILL');
  const next = await own(port, [victim]);
  assert.ok(next.includes(other as number));
  assert.deepEqual(await answeredWithoutDaemon(port), next);
});

test("settings in an app's own environment count, and for that app alone", async () => {
  const ports = [await freePort(HOST), await freePort(HOST), await freePort(HOST)] as const;
  await pm2.start(
    { ...cluster('off', ports[0]), env: { FASTSOCKET: 'off' } },
    { ...cluster('one', ports[1]), env: { FASTSOCKET_WORKERS: '1' } },
    cluster('on', ports[2]),
  );
  const workers = await own(ports[2]);
  assert.deepEqual(await answeredWithoutDaemon(ports[2]), workers);
  const reasons = [/^FASTSOCKET=off$/, /^one worker is asked for \(FASTSOCKET_WORKERS=1\)$/];
  for (const [i, reason] of reasons.entries())
    for (const said of await answerers(ports[i] as number, 2)) {
      assert.equal(said.active, false);
      assert.match(said.reason ?? '', reason);
    }
});

test('with the flag in NODE_OPTIONS when the daemon starts: in all that it starts', async (t) => {
  const everywhere = new Pm2({ NODE_OPTIONS: `-r ${hook}` });
  t.after(() => everywhere.end());
  const [port, forked] = [await freePort(HOST), await freePort(HOST)];
  await everywhere.start(
    { ...cluster('everywhere', port), hook: false },
    { name: 'everywhere-forked', port: forked, hook: false },
  );
  for (const { active, parent } of await answerers(port, 2, (said) => said.active)) {
    assert.equal(active, true);
    assert.equal(parent, everywhere.daemon);
  }
  const copies = await answerers(forked, 2, ({ parent }) => parent !== everywhere.daemon);
  assert.equal(new Set(copies.map(({ parent }) => parent)).size, 1);
});
