// SPDX-License-Identifier: Apache-2.0
// PM2's fork mode: it starts one process, which multiplies as it does without PM2.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { childrenOf, fixture, freePort, hook, lives, until } from './support/app';
import { noneLeft, portFree } from './support/ending';
import { Ledger } from './support/ledger';
import { Load } from './support/load';
import { answerers, type Facts, type Listed, Pm2, treeOf } from './support/pm2';

const HOST = '127.0.0.1';
const pm2 = new Pm2();
after(() => pm2.end());

const isCopy = ({ pid, parent }: Facts) => parent !== pm2.daemon && pid !== pm2.daemon;

/** The origin of an app that serves in two copies. */
async function multiplied(port: number, other = 0): Promise<number> {
  const copies = await answerers(port, 2, (said) => isCopy(said) && said.parent !== other);
  const [origin, ...more] = [...new Set(copies.map(({ parent }) => parent))];
  assert.ok(origin !== undefined);
  assert.deepEqual(more, []);
  for (const { active } of copies) assert.equal(active, true);
  return origin;
}

/** Where the only process that serves is the one that PM2 has started. */
async function single(port: number, other = 0): Promise<number> {
  const [said] = await answerers(port, 1, ({ pid }) => pid !== other);
  assert.equal(said?.parent, pm2.daemon);
  return said?.pid as number;
}

describe('the flag', () => {
  test('in --node-args and in NODE_OPTIONS: one process for PM2, the app in two more', async () => {
    const script = fixture('pm2-app.js');
    const ports = [await freePort(HOST), await freePort(HOST)] as const;
    const words = ['start', script, '--name'];
    await pm2.run([...words, 'args', '--node-args', `-r ${hook}`], pm2.appEnv(ports[0]));
    await pm2.run([...words, 'options'], { ...pm2.appEnv(ports[1]), NODE_OPTIONS: `-r ${hook}` });
    const origins = [await multiplied(ports[0]), await multiplied(ports[1])];
    assert.deepEqual(
      (await pm2.list()).map(({ pid, status }) => [pid, status]),
      origins.map((origin) => [origin, 'online']),
    );
  });

  test('and two instances: each with a port and copies of its own, which have its number', async () => {
    const port = await freePort(HOST);
    await pm2.start({
      name: 'twice',
      port,
      exec_mode: 'fork',
      instances: 2,
      increment_var: 'PORT',
    });
    const origins = [await multiplied(port), await multiplied(port + 1)];
    const listed = await pm2.list('twice');
    assert.deepEqual(
      listed.map(({ pid }) => pid),
      origins,
    );
    for (const n of [0, 1]) {
      const copies = await answerers(port + n, 2, isCopy);
      assert.deepEqual(
        copies.map(({ parent, instance }) => [parent, instance]),
        copies.map(() => [origins[n], `${n}`]),
      );
    }
  });
});

describe('leaves and comes back', () => {
  // a second delivery would find it alive still
  const handles = { LEAVES: 'signal', PAUSE_MS: '200' };
  const apps = [
    { name: 'plain', hook: false, env: {} },
    { name: 'plain-handles', hook: false, env: handles },
    { name: 'hooked', hook: true, env: {} },
    { name: 'hooked-handles', hook: true, env: handles },
  ];
  const names = apps.map(({ name }) => name);
  const as = (listed: Listed[], name: string) => {
    const { status, restarts, exitCode } = listed.find((one) => one.name === name) as Listed;
    return { status, restarts, exitCode };
  };

  test('by stop, restart, reload and delete as plain Node does, whole', async () => {
    const ledger = new Ledger();
    const ports = await Promise.all(apps.map(() => freePort(HOST)));
    const serving = (others: number[] = []) =>
      Promise.all(apps.map((app, i) => (app.hook ? multiplied : single)(ports[i] as number, others[i])));
    await pm2.start(
      ...apps.map(({ env, ...app }, i) => ({
        ...app,
        // `pm2 reload` takes one name
        namespace: 'all-four',
        port: ports[i] as number,
        env: { ...env, LEDGER: ledger.path },
      })),
    );
    const first = await serving();
    const trees = first.map(treeOf);
    assert.deepEqual(
      trees.map(({ length }) => length),
      [1, 1, 3, 3],
    );

    await pm2.run(['stop', ...names]);
    for (const port of ports) assert.ok(await portFree(port), `port ${port} is free`);
    await noneLeft(trees.flat());
    let listed = await pm2.list();
    assert.deepEqual(as(listed, 'hooked'), as(listed, 'plain'));
    assert.deepEqual(as(listed, 'hooked-handles'), as(listed, 'plain-handles'));
    assert.equal(as(listed, 'hooked-handles').status, 'stopped');
    for (const [i, tree] of trees.entries())
      for (const pid of tree)
        assert.equal(
          ledger.count('SIGINT', pid),
          names[i]?.endsWith('handles') ? 1 : 0,
          `${names[i]} ${pid}`,
        );

    await pm2.run(['restart', ...names]);
    const second = await serving(first);
    const secondTrees = second.map(treeOf);
    await pm2.run(['reload', 'all-four']);
    const third = await serving(second);
    await noneLeft(secondTrees.flat());
    listed = await pm2.list();
    assert.deepEqual(as(listed, 'hooked'), as(listed, 'plain'));
    assert.deepEqual(as(listed, 'hooked-handles'), as(listed, 'plain-handles'));
    assert.equal(as(listed, 'hooked').restarts, 1);

    const thirdTrees = third.map(treeOf);
    await pm2.run(['delete', ...names]);
    for (const port of ports) assert.ok(await portFree(port), `port ${port} is free`);
    await noneLeft(thirdTrees.flat());
  });

  test('by an exit of its own, which PM2 answers with a new one', async () => {
    const ports = [await freePort(HOST), await freePort(HOST)] as const;
    await pm2.start(
      { name: 'exits-plain', hook: false, port: ports[0] },
      { name: 'exits-hooked', port: ports[1] },
    );
    const before = [await single(ports[0]), await multiplied(ports[1])] as const;
    const trees = before.map(treeOf);
    for (const pid of before) process.kill(pid, 'SIGUSR1');
    const next = [await single(ports[0], before[0]), await multiplied(ports[1], before[1])];
    await noneLeft(trees.flat());
    const listed = await pm2.list();
    assert.deepEqual(as(listed, 'exits-hooked'), as(listed, 'exits-plain'));
    assert.deepEqual(as(listed, 'exits-hooked'), { status: 'online', restarts: 1, exitCode: 3 });
    // killed: nobody of ours can do anything
    for (const pid of next) process.kill(pid, 'SIGKILL');
    await Promise.all([single(ports[0], next[0]), multiplied(ports[1], next[1])]);
    assert.equal(as(await pm2.list(), 'exits-hooked').restarts, 2);
  });
});

describe('messages', () => {
  test("'ready' once, 'shutdown' to the process that PM2 has started; nobody is lost", async (t) => {
    const ledger = new Ledger();
    const port = await freePort(HOST);
    const heard = await pm2.hear(t);
    // without 'ready' the command would take longer than it may
    await pm2.start({
      name: 'messages',
      port,
      wait_ready: true,
      listen_timeout: 120_000,
      shutdown_with_message: true,
      kill_timeout: 20_000,
      env: { LEAVES: 'message', LEDGER: ledger.path },
    });
    const origin = await multiplied(port);
    const tree = treeOf(origin);
    await until(() => ledger.count('listens') === 3, 'all three have said that they are ready');
    const load = new Load(port, { clients: 8 });
    await until(() => load.answered > 100, 'answers');
    const stopped = pm2.run(['stop', 'messages']);
    await until(() => ledger.count('shutdown') > 0, 'the message');
    load.stop();
    await stopped;
    const { lost, cut } = await load.result();
    assert.deepEqual({ lost, cut }, { lost: 0, cut: 0 });
    await noneLeft(tree);
    assert.deepEqual(
      tree.map((pid) => ledger.count('shutdown', pid)),
      [1, 0, 0],
    );
    const [listed] = await pm2.list('messages');
    assert.deepEqual([listed?.status, listed?.exitCode], ['stopped', 0]);
    assert.deepEqual(heard, ['messages: ready']);
    assert.deepEqual(
      childrenOf(pm2.daemon).filter((pid) => tree.includes(pid) && lives(pid)),
      [],
    );
  });
});
