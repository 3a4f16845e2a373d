// SPDX-License-Identifier: Apache-2.0
// cluster.workers in the origin, where the app listens for messages: what it does to all of them, and to one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, describe, type TestContext, test } from 'node:test';
import { type App, census, fixture, freePort, hook, lives, startApp, until } from './support/app';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';

const bare = new PackageWithoutAddon();
after(() => bare.remove());
const ways = { 'with the addon': ['-r', hook], ...bare.means };

interface Note {
  event: string;
  pid: number;
  [fact: string]: unknown;
}

class Watched {
  constructor(readonly app: App) {}

  notes(event: string): Note[] {
    const lines = this.app.stdout.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as Note).filter((note) => note.event === event);
  }

  seen(event: string, count = 1): Promise<Note> {
    return until(
      () => this.notes(event)[count - 1],
      () => `${count} x ${event}:\n${this.app.stdout}\n${this.app.stderr}`,
    );
  }

  command(line: string): void {
    this.app.child.stdin?.write(`${line}\n`);
  }

  /** What stands in cluster.workers now. */
  async list(): Promise<Note> {
    const count = this.notes('list').length + 1;
    this.command('list');
    return this.seen('list', count);
  }

  /** All that the app has heard of. */
  get events(): string[] {
    return ['fork', 'online', 'listening', 'disconnect', 'exit'].filter(
      (event) => this.notes(`cluster ${event}`).length > 0,
    );
  }

  /** Waits for a successor of worker `id`, and for it to stand in cluster.workers. */
  async replaced(id: number, victim: number): Promise<void> {
    await this.app.said(new RegExp(`worker ${id} is ready[\\s\\S]*worker ${id} is ready`));
    assert.equal(lives(victim), false);
    const { ids, pids } = await this.list();
    assert.deepEqual(ids, ['1', '2']);
    assert.ok(!(pids as number[]).includes(victim));
    const { exitCode, signalCode } = this.app.child;
    assert.deepEqual([exitCode, signalCode], [null, null], 'the app lives on');
    assert.deepEqual(this.events, [], 'the app has forked nobody');
  }
}

async function start(t: TestContext, flags: string[] | false, env: Record<string, string> = {}) {
  const port = await freePort(HOST);
  const app = startApp(fixture('cluster-workers.js'), {
    port,
    hook: flags,
    env: { HOST, ...env },
    stdin: 'pipe',
  });
  t.after(() => app.stop());
  for (const index of flags ? [1, 2] : []) await app.said(new RegExp(`worker ${index} is ready`));
  const watched = new Watched(app);
  const { ids, pids } = await watched.list();
  assert.deepEqual(ids, flags ? ['1', '2'] : []);
  return { watched, app, pids: pids as number[] };
}

test('plain Node: cluster.disconnect() of nobody calls back', async (t) => {
  const { watched } = await start(t, false);
  watched.command('all');
  await watched.seen('all disconnected');
});

for (const [way, flags] of Object.entries(ways))
  describe(`workers in cluster.workers (${way})`, { concurrency: 2 }, () => {
    test('cluster.disconnect() calls back, each time, and they serve on', async (t) => {
      const { watched, app, pids } = await start(t, flags);
      for (const count of [1, 2]) {
        watched.command('all');
        await watched.seen('all disconnected', count);
      }
      const { ids, pids: now } = await watched.list();
      assert.deepEqual([ids, now], [['1', '2'], pids]);
      assert.deepEqual(
        app.workers(),
        [...pids].sort((a, b) => a - b),
      );
      assert.deepEqual(watched.events, []);
    });

    test('cluster.disconnect() after a fork of the app has its workers to wait for, and no other', async (t) => {
      const { watched, app } = await start(t, flags);
      // copies that have requests to finish stay a while
      const requests = Array.from({ length: 16 }, () => connect(app.port, HOST));
      t.after(() => requests.forEach((socket) => socket.destroy()));
      for (const socket of requests) {
        await once(socket, 'connect');
        socket.write('GET / HTTP/1.1\r\n');
      }
      watched.command('fork');
      await watched.seen('cluster listening');
      // by chance all of them are one copy's
      assert.ok(app.workers().length > 1, 'a copy is there still');
      assert.deepEqual((await watched.list()).ids, ['1'], 'the app’s own');
      watched.command('all');
      await watched.seen('all disconnected');
      await watched.seen('cluster exit');
      assert.deepEqual((await watched.list()).ids, []);
    });

    test('worker.disconnect(): that one leaves when it is through, and another one takes its place', async (t) => {
      const { watched, pids } = await start(t, flags);
      watched.command('disconnect 1');
      assert.deepEqual((await watched.seen('told')).ids, ['2']);
      const { pid: _, ...exit } = await watched.seen('worker exit');
      const orderly = { code: 0, signal: null, exitedAfterDisconnect: true, dead: true };
      assert.deepEqual(exit, { event: 'worker exit', id: 1, ...orderly });
      assert.equal(watched.notes('worker disconnect').length, 1);
      assert.deepEqual(watched.notes('flushed'), [
        { event: 'flushed', pid: pids[0], exitedAfterDisconnect: true },
      ]);
      await watched.replaced(1, pids[0] as number);
    });

    const kills: [command: string, code: number | null, signal: string | null, handles?: string][] = [
      ['kill 1', null, 'SIGTERM'],
      ['kill 1 SIGINT', null, 'SIGINT'],
      ['kill 1 SIGKILL', null, 'SIGKILL'],
      ['kill 1 sigterm', null, 'SIGTERM'],
      ['kill-process 1 SIGTERM', null, 'SIGTERM'],
      ['kill 1 SIGTERM', 7, null, '1'],
    ];
    for (const [command, code, signal, HANDLES] of kills)
      test(`${command}${HANDLES ? ', with a handler' : ''}: that one ends, and the app does not`, async (t) => {
        const { watched, app, pids } = await start(t, flags, HANDLES ? { HANDLES } : {});
        watched.command(command);
        const { pid: _, ...exit } = await watched.seen('worker exit');
        const ended = { code, signal, exitedAfterDisconnect: false, dead: true };
        assert.deepEqual(exit, { event: 'worker exit', id: 1, ...ended });
        const [victim, other] = pids as [number, number];
        await watched.replaced(1, victim);
        const handlers = watched.notes('handler').map(({ pid }) => pid);
        assert.deepEqual(handlers, HANDLES ? [victim] : []);
        for (const { sent } of watched.notes('sent')) assert.equal(sent, true);
        assert.ok((await census(app.port, 24, HOST)).size > 0);
        assert.ok(lives(other));
      });

    test('what the app listens for on one of them alone comes to it whole', async (t) => {
      const { watched } = await start(t, flags);
      watched.command('hear 1');
      watched.command('order 1 hand');
      assert.equal((await watched.seen('handed')).destroyed, false);
    });

    test('kill() of one whose loop is blocked ends it, too', async (t) => {
      const { watched, pids } = await start(t, flags);
      watched.command('order 1 block');
      await watched.seen('blocks');
      watched.command('kill 1');
      assert.equal((await watched.seen('worker exit')).signal, 'SIGTERM');
      await watched.replaced(1, pids[0] as number);
    });

    test('kill() of one that has disconnected, and lives on, ends it and not the app', async (t) => {
      const { watched, pids } = await start(t, flags);
      watched.command('order 1 leave');
      await watched.seen('worker disconnect');
      watched.command('kill 1');
      const { signal, exitedAfterDisconnect } = await watched.seen('worker exit');
      assert.deepEqual([signal, exitedAfterDisconnect], ['SIGTERM', true]);
      await watched.replaced(1, pids[0] as number);
    });

    test('a signal to the app that its primary passes on comes to each worker once', async (t) => {
      const { watched, app, pids } = await start(t, flags, { FORWARDS: '1' });
      app.child.kill('SIGTERM');
      await watched.seen('drained', pids.length);
      const handled = watched.notes('handler').map(({ pid }) => pid);
      assert.deepEqual(handled.sort(), [...pids].sort());
    });
  });
