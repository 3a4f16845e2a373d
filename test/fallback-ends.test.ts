// SPDX-License-Identifier: Apache-2.0
// How the tree ends where there is no addon: signals, exits, close(), as far as JavaScript can see to it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type App, answeredBy, type Ended, lives, request, until } from './support/app';
import { noneLeft, portFree, untilPortFree } from './support/ending';
import { noted, RELAYED, startTree, type Tree, WAYS } from './support/signals';
import { PackageWithoutAddon } from './support/without-addon';

const bare = new PackageWithoutAddon();
after(() => bare.remove());

/** Waits for the end of the origin. */
async function exited({ child }: App): Promise<Ended> {
  await until(() => child.exitCode !== null || child.signalCode !== null, 'the end of the origin');
  return { code: child.exitCode, signal: child.signalCode };
}

const noSetpriv = {
  skip:
    spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0
      ? false
      : 'there is no setpriv(1) that knows --pdeathsig',
};

/**
 * While a worker runs no line of JavaScript any more. It is stopped: a request that blocks could reach the origin. An
 * orphan would hold the test's pipes for ever, so it is ended here.
 */
async function whileBlocked({ workers }: Tree, f: () => Promise<void>): Promise<void> {
  const [victim] = workers as [number];
  process.kill(victim, 'SIGSTOP');
  try {
    await until(
      () => /^State:\s+T/m.test(readFileSync(`/proc/${victim}/status`, 'utf8')),
      'a stopped worker',
    );
    await f();
  } finally {
    if (lives(victim)) process.kill(victim, 'SIGKILL');
  }
}

/** A request that a worker is busy with; the origin is not. */
async function askWorker({ app, ledger, origin }: Tree): Promise<{ pid: number; answer: Promise<string> }> {
  for (;;) {
    const answer = request(app.port, '/slow', '127.0.0.1');
    const count = ledger.count('asked');
    const { pid } = await until(
      () => ledger.entries.filter(({ event }) => event === 'asked')[count],
      'a request',
    );
    if (pid !== origin) return { pid, answer };
    await answer;
  }
}

/** A connection that a worker has, in the middle of a request. */
async function connectWorker({ app, origin }: Tree): Promise<Socket> {
  for (;;) {
    const socket = connect(app.port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.write('GET / HTTP/1.1\r\n');
    if (answeredBy(String(answer)) !== origin) return socket;
    socket.destroy();
  }
}

for (const [means, flags] of Object.entries(bare.means)) {
  describe(means, () => {
    test('signals reach every process exactly once, whichever way they come', async (t) => {
      const tree = await startTree(t, { HANDLER: 'note' }, { hook: flags });
      const { ledger, all } = tree;
      let sent = 0;
      for (const [way, send] of Object.entries(WAYS)) {
        sent++;
        for (const signal of RELAYED) {
          send(tree, signal);
          const everywhere = () => all.every((pid) => ledger.count(noted(signal), pid) >= sent);
          await until(everywhere, `${signal} to ${way}:\n${JSON.stringify(ledger.entries)}`);
        }
        // longer than the origin waits for its own copy of what a worker has reported
        await sleep(250);
        for (const signal of RELAYED) {
          for (const pid of all) assert.equal(ledger.count(noted(signal), pid), sent, `${signal} to ${way}`);
        }
      }
    });

    for (const [way, send] of Object.entries(WAYS)) {
      test(`without a handler SIGTERM ends the tree by that signal: ${way}`, async (t) => {
        const tree = await startTree(t, {}, { hook: flags });
        send(tree, 'SIGTERM');
        assert.deepEqual(await exited(tree.app), { code: null, signal: 'SIGTERM' });
        await noneLeft(tree.workers);
        await untilPortFree(tree.app.port);
      });
    }

    test('a handler that exits in the origin does not cut off the workers', async (t) => {
      const tree = await startTree(t, { HANDLER: 'late' }, { hook: flags });
      process.kill(tree.origin, 'SIGTERM');
      assert.deepEqual(await exited(tree.app), { code: 5, signal: null });
      assert.deepEqual(tree.ledger.of(tree.origin), ['origin', noted('SIGTERM'), 'exit 5']);
      for (const pid of tree.workers)
        assert.deepEqual(tree.ledger.of(pid), ['worker', noted('SIGTERM'), 'done', 'exit 0']);
      assert.ok(await portFree(tree.app.port), 'the port is free when the end can be seen');
    });

    test('signal-exit ends every process by the signal, once', async (t) => {
      const tree = await startTree(t, { HANDLER: 'signal-exit' }, { hook: flags });
      process.kill(tree.origin, 'SIGTERM');
      assert.deepEqual(await exited(tree.app), { code: null, signal: 'SIGTERM' });
      await noneLeft(tree.workers);
      for (const pid of tree.all) assert.equal(tree.ledger.count('left null SIGTERM', pid), 1);
    });

    test('the usual graceful shutdown ends everything with status 0', async (t) => {
      const tree = await startTree(t, { HANDLER: 'graceful' }, { hook: flags });
      process.kill(tree.origin, 'SIGTERM');
      assert.deepEqual(await exited(tree.app), { code: 0, signal: null });
      assert.ok(await portFree(tree.app.port));
      await noneLeft(tree.workers);
      for (const pid of tree.all) assert.equal(tree.ledger.count(noted('SIGTERM'), pid), 1);
    });

    test('process.exit() in the origin ends the workers with the same status', async (t) => {
      const tree = await startTree(t, { TRIGGER: 'exit' }, { hook: flags });
      process.kill(tree.origin, 'SIGUSR1');
      assert.deepEqual(await exited(tree.app), { code: 7, signal: null });
      assert.ok(await portFree(tree.app.port));
      await noneLeft(tree.workers);
      for (const pid of tree.all) assert.equal(tree.ledger.count('exit 7', pid), 1);
    });

    test('server.close() in the origin closes all, and calls back when the port is free', async (t) => {
      const tree = await startTree(t, { TRIGGER: 'close' }, { hook: flags });
      process.kill(tree.origin, 'SIGUSR1');
      assert.deepEqual(await exited(tree.app), { code: 0, signal: null });
      assert.ok(await portFree(tree.app.port));
      await noneLeft(tree.workers);
      assert.equal(tree.ledger.count('closed', tree.origin), 1);
    });

    for (const [when, HANDLER] of [
      ['of workers', 'none'],
      ['of workers that have closed their servers before', 'workers close'],
    ] as const) {
      test(`server.close() in the origin waits for connections ${when}`, async (t) => {
        const tree = await startTree(t, { TRIGGER: 'close and stay', HANDLER }, { hook: flags });
        const { app, ledger, origin, workers } = tree;
        const { pid, answer } = await askWorker(tree);
        if (HANDLER !== 'none') {
          process.kill(origin, 'SIGTERM');
          await until(() => ledger.count('closes', pid) === 1, 'its end');
        }
        process.kill(origin, 'SIGUSR1');
        await until(() => ledger.count('closed well', origin) === 1, 'the callback');
        assert.equal(ledger.count('answered', pid), 1);
        assert.match(await answer, /hello$/);
        assert.ok(await portFree(app.port));
        await noneLeft(workers);
        assert.equal(app.child.exitCode, null);
      });
    }

    test('server.close() in the origin does not wait for a server that listens elsewhere by now', async (t) => {
      const tree = await startTree(
        t,
        { TRIGGER: 'close and stay', HANDLER: 'workers move' },
        { hook: flags },
      );
      const { app, ledger, origin, workers } = tree;
      const socket = await connectWorker(tree);
      t.after(() => socket.destroy());
      process.kill(origin, 'SIGTERM');
      for (const pid of workers) await until(() => ledger.count('moves', pid) === 1, 'another port');
      process.kill(origin, 'SIGUSR1');
      await until(() => ledger.count('closed well') === 1, 'the callback');
      assert.deepEqual(app.workers(), workers);
    });

    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      test(`${signal} to the origin leaves no orphan, though a worker is blocked`, noSetpriv, async (t) => {
        const tree = await startTree(t, {}, { hook: flags });
        await whileBlocked(tree, async () => {
          process.kill(tree.origin, signal);
          assert.deepEqual(await exited(tree.app), { code: null, signal });
          await noneLeft(tree.workers);
        });
        t.diagnostic(`the port was free after ${Math.round(await untilPortFree(tree.app.port))} ms`);
      });
    }

    test('process.exit() in the origin ends a blocked worker, too', async (t) => {
      const tree = await startTree(t, { TRIGGER: 'exit' }, { hook: flags });
      await whileBlocked(tree, async () => {
        process.kill(tree.origin, 'SIGUSR1');
        assert.deepEqual(await exited(tree.app), { code: 7, signal: null });
        assert.ok(await portFree(tree.app.port));
        await noneLeft(tree.workers);
      });
    });
  });
}
