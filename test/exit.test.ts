// SPDX-License-Identifier: Apache-2.0
// The origin's end takes everything with it: status and output of plain Node, a free port, no orphan.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fixture, freePort, lives, startApp, until } from './support/app';
import { exited, noneLeft, portFree, untilPortFree } from './support/ending';
import { Ledger } from './support/ledger';
import { noted, startTree, type Tree } from './support/signals';

/** Blocks the loop of one worker for ever; resolves to its pid. */
async function blockOne({ app, ledger }: Tree): Promise<number> {
  const socket = connect(app.port, '127.0.0.1', () =>
    socket.write('GET /block HTTP/1.1\r\nHost: test\r\n\r\n'),
  );
  socket.on('error', () => {});
  return until(() => ledger.entries.find(({ event }) => event === 'blocked')?.pid, 'a blocked worker');
}

/** What the app itself has written: no debug lines, no pids. */
const ownStderr = ({ app }: Tree): string => app.stderr.replace(/^FASTSOCKET .*\n/gm, '');

async function freeAtTheEnd(tree: Tree): Promise<void> {
  assert.ok(await portFree(tree.app.port), 'the port is free when the end can be seen');
  await noneLeft(tree.workers);
}

describe('process.exit() in the origin', () => {
  test('ends everything with that status, exit handlers included', async (t) => {
    const tree = await startTree(t, { TRIGGER: 'exit' });
    process.kill(tree.origin, 'SIGUSR1');
    assert.deepEqual(await exited(tree.app), { code: 7, signal: null });
    await freeAtTheEnd(tree);
    for (const pid of tree.all) assert.deepEqual(tree.ledger.of(pid).slice(1), ['exit 7']);
  });

  test('does not wait for workers that handled a signal long ago and went on', async (t) => {
    const waitMs = 3_000;
    const tree = await startTree(t, {
      HANDLER: 'note',
      TRIGGER: 'exit',
      FASTSOCKET_EXIT_WAIT_MS: String(waitMs),
    });
    process.kill(tree.origin, 'SIGHUP');
    await until(
      () => tree.all.every((pid) => tree.ledger.count(noted('SIGHUP'), pid) === 1),
      'SIGHUP handled everywhere',
    );
    await sleep(waitMs);
    process.kill(tree.origin, 'SIGUSR1');
    const start = performance.now();
    assert.deepEqual(await exited(tree.app), { code: 7, signal: null });
    assert.ok(performance.now() - start < waitMs);
    for (const pid of tree.workers)
      assert.deepEqual(tree.ledger.of(pid).slice(1), [noted('SIGHUP'), 'exit 7']);
  });

  test('does not wait for a copy that is still starting', async (t) => {
    const slow = { SLOW_COPY: '30000', HANDLER: 'exit', FASTSOCKET_EXIT_WAIT_MS: '60000' };
    const tree = await startTree(t, slow, { waitFor: 'answer' });
    await until(() => tree.ledger.count('starts') === 1, 'the copy');
    process.kill(tree.origin, 'SIGTERM');
    const start = performance.now();
    assert.deepEqual(await exited(tree.app), { code: 3, signal: null });
    assert.ok(performance.now() - start < 15_000);
    assert.ok(await portFree(tree.app.port));
  });

  test('ends a worker whose loop is blocked, too', async (t) => {
    const tree = await startTree(t, { TRIGGER: 'exit' });
    const blocked = await blockOne(tree);
    assert.ok(tree.workers.includes(blocked));
    process.kill(tree.origin, 'SIGUSR1');
    assert.deepEqual(await exited(tree.app), { code: 7, signal: null });
    await freeAtTheEnd(tree);
  });
});

test('an uncaught exception in the origin looks and ends like that of plain Node', async (t) => {
  const plain = await startTree(t, { TRIGGER: 'throw' }, { hook: false });
  process.kill(plain.origin, 'SIGUSR1');
  const expected = await plain.app.ended;
  assert.equal(expected.code, 1);
  const tree = await startTree(t, { TRIGGER: 'throw' });
  process.kill(tree.origin, 'SIGUSR1');
  assert.deepEqual(await exited(tree.app), expected);
  await freeAtTheEnd(tree);
  await tree.app.ended;
  assert.match(ownStderr(plain), /thrown on purpose/);
  assert.equal(ownStderr(tree), ownStderr(plain));
});

describe('FASTSOCKET_EXIT_WAIT_MS', () => {
  for (const handler of ['stuck', 'late']) {
    test(`${handler === 'stuck' ? 'bounds the wait for' : 'does not prolong the end of'} workers that were told of a signal`, async (t) => {
      const tree = await startTree(t, {
        HANDLER: handler,
        FASTSOCKET_EXIT_WAIT_MS: handler === 'stuck' ? '500' : '60000',
      });
      const start = performance.now();
      process.kill(tree.origin, 'SIGTERM');
      const { code } = await exited(tree.app);
      const waited = performance.now() - start;
      await freeAtTheEnd(tree);
      t.diagnostic(`ended after ${Math.round(waited)} ms`);
      if (handler === 'stuck') {
        assert.equal(code, 6);
        assert.ok(waited >= 490, `waited ${waited} ms`);
      }
      assert.ok(waited < 10_000, `waited ${waited} ms`);
    });
  }
});

/** A worker in a state in which it cannot help. */
const HINDRANCES: Record<string, (t: TestContext) => Promise<Tree>> = {
  'all workers at work': (t) => startTree(t),
  'a worker with a blocked loop': async (t) => {
    const tree = await startTree(t);
    await blockOne(tree);
    return tree;
  },
  'a stopped worker': async (t) => {
    const tree = await startTree(t);
    process.kill(tree.workers[0] as number, 'SIGSTOP');
    return tree;
  },
  'all processes under another user since before listen()': (t) => startTree(t, { DROP_TO: '65534' }),
  'all processes under another user since after listen()': (t) => startTree(t, { DROP_LATER: '65534' }),
  // the kernel forgets the parent-death signal there (kernel/cred.c, commit_creds)
  'all processes under another user since a moment ago, and a blocked loop': async (t) => {
    const tree = await startTree(t, { HANDLER: 'drop', SIGNALS: 'SIGUSR2' });
    process.kill(tree.origin, 'SIGUSR2');
    await until(() => tree.all.every((pid) => tree.ledger.count('dropped', pid) === 1), 'another user');
    await blockOne(tree);
    return tree;
  },
};

describe('the origin is ended', () => {
  for (const [hindrance, start] of Object.entries(HINDRANCES)) {
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      test(`by ${signal}, ${hindrance}: no orphan, and a free port`, async (t) => {
        const tree = await start(t);
        process.kill(tree.origin, signal);
        assert.deepEqual(await exited(tree.app), { code: null, signal });
        if (signal === 'SIGTERM')
          assert.ok(await portFree(tree.app.port), 'the port is free when the end can be seen');
        else t.diagnostic(`the port was free after ${Math.round(await untilPortFree(tree.app.port))} ms`);
        await noneLeft(tree.workers);
        assert.ok(!tree.workers.some(lives));
      });
    }
  }
});

test('SIGKILL of the origin while its workers start: none runs on as a program of its own', async (t) => {
  for (const ms of [0, 20, 40, 80, 120]) {
    const ledger = new Ledger();
    const port = await freePort();
    const app = startApp(fixture('signals-app.js'), { port, env: { LEDGER: ledger.path } });
    t.after(() => app.stop());
    await app.said(/a first copy is started/);
    await sleep(ms);
    const workers = app.workers();
    app.child.kill('SIGKILL');
    await app.ended;
    const said = app.stderr.replace(/^FASTSOCKET .*\n/gm, '');
    assert.equal(said, '', `killed ${ms} ms after the start`);
    await noneLeft(workers);
    await untilPortFree(port);
  }
});
