// SPDX-License-Identifier: Apache-2.0
// An address for which the origin can make no sockets for workers, when these serve others already: it serves it alone, and
// they go on.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { census, fixture, freePort, multiplied, request, startApp, until } from './support/app';
import { Ledger } from './support/ledger';

const HOST = '127.0.0.1';
/** Descriptors that a process of the app may have. */
const LIMITED = ['sh', '-c', 'ulimit -n 100; exec "$0" "$@"'];

async function start(t: TestContext, first: 'origin' | 'copies', asks = false) {
  const ledger = new Ledger();
  const second = await freePort(HOST);
  const app = startApp(fixture('second-listen.js'), {
    port: await freePort(HOST),
    // for the app's own socket, and that of the first worker
    env: {
      FIRST: first,
      LEAVE: '2',
      LEDGER: ledger.path,
      SECOND: `${second}`,
      ...(asks && { ASKS: '1' }),
    },
    prefix: LIMITED,
  });
  t.after(() => app.stop());
  const workers = await multiplied(app, 2, HOST);
  process.kill(app.pid, 'SIGUSR1');
  /** All of these believe that they listen there, and nobody has ended. */
  const listens = (pids: number[]) =>
    until(
      () => {
        assert.deepEqual(ledger.of(app.pid).slice(0, 1), ['start']);
        assert.equal(ledger.count('start'), 1 + new Set([...workers, ...pids]).size, app.stderr);
        return [app.pid, ...pids].every((pid) => ledger.count('second', pid) === 1);
      },
      () => `a second server in each:\n${app.stderr}`,
    );
  return { app, ledger, second, workers, listens };
}

describe('a second listener that is the origin’s alone', { concurrency: 2 }, () => {
  for (const first of ['origin', 'copies'] as const)
    test(`${first === 'origin' ? 'the origin' : 'its copies'} first: nobody ends, and somebody answers`, async (t) => {
      const { app, second, workers, listens } = await start(t, first);
      await listens(workers);
      assert.deepEqual([...(await census(second, 16, HOST)).keys()], [app.pid]);
      const by = [...(await census(app.port, 32, HOST)).keys()];
      assert.ok(by.length > 0 && by.every((pid) => workers.includes(pid)));
      const said = app.stderr.match(/^fastsocket: .*$/gm) ?? [];
      assert.equal(said.length, 1, `${said}`);
      assert.match(
        said.join(),
        new RegExp(
          `${HOST}:${second} is served by one process: socket \\d of the listener group could not be made`,
        ),
      );
      // so does a successor
      const [victim, other] = workers as [number, number];
      process.kill(victim, 'SIGKILL');
      await app.said(/worker 1 is ready[\s\S]*worker 1 is ready/);
      const [successor = 0] = app.workers().filter((pid) => pid !== other);
      await listens([successor, other]);
      assert.match(await request(second, '/', HOST), /hello/);
      assert.doesNotMatch(app.stderr, /EADDRINUSE/);
    });

  test('of a program that asks whether it is taken: its copies and their successors are told that it is not', async (t) => {
    const { app, workers, listens } = await start(t, 'origin', true);
    await listens(workers);
    const [victim, other] = workers as [number, number];
    process.kill(victim, 'SIGKILL');
    await app.said(/worker 1 is ready[\s\S]*worker 1 is ready/);
    const [successor = 0] = app.workers().filter((pid) => pid !== other);
    await listens([successor, other]);
  });

  test('is theirs, too, when the origin has closed it and can make sockets the next time', async (t) => {
    const { app, ledger, second, workers, listens } = await start(t, 'origin');
    await listens(workers);
    process.kill(app.pid, 'SIGWINCH');
    await until(() => ledger.count('again') === 1, 'a server that listens again');
    await until(
      async () => [...(await census(second, 32, HOST)).keys()].every((pid) => workers.includes(pid)),
      () => `answers of the workers:\n${app.stderr}`,
    );
    assert.doesNotMatch(app.stderr, /EADDRINUSE/);
  });
});
