// SPDX-License-Identifier: Apache-2.0
// Servers on paths and UDP sockets: every process of the tree has the same one.
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf, until } from './support/app';
import {
  askPath,
  askUdp,
  beginRequest,
  canBind,
  type SharedApp,
  startShared,
  tellGroup,
  whileAlone,
} from './support/shared-app';

const GROUP = '239.7.7.7';

const processes = ({ app, workers }: SharedApp): number[] => [app.pid, ...workers];

/** Each process, while the others are stopped, answers on all that is given. */
async function allAnswer(
  shared: SharedApp,
  kinds: ('path' | 'udp')[],
  all = processes(shared),
): Promise<void> {
  for (const pid of all)
    await whileAlone(pid, processes(shared), async () => {
      for (const kind of kinds)
        assert.equal(await (kind === 'path' ? askPath(shared.path) : askUdp(shared.udp)), pid, kind);
    });
}

/** Waits until each process has noted `count` of these, besides nothing but what is named. */
async function noted({ ledger, app }: SharedApp, pids: number[], event: RegExp, count = 1): Promise<void> {
  await until(
    () => pids.every((pid) => ledger.of(pid).filter((line) => event.test(line)).length === count),
    () => `${count} times ${event}:\n${JSON.stringify(ledger.entries)}\n${app.stderr}`,
  );
}

async function noneAnswers(path: string, code: string): Promise<void> {
  await until(
    () =>
      askPath(path).then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === code,
      ),
    `${code} on ${JSON.stringify(path)}`,
  );
}

describe('a server on a path, and a UDP port', { concurrency: 2 }, () => {
  test('are everybody’s, who may be killed', async (t) => {
    const shared = await startShared(t, { path: 'file', udp: true });
    const { app, ledger, path, udp, workers } = shared;
    await noted(shared, processes(shared), /^(path|udp \d)/, 2);
    for (const pid of processes(shared))
      assert.deepEqual(ledger.of(pid).sort(), [`path ${JSON.stringify(path)}`, `udp ${udp}`]);
    await allAnswer(shared, ['path', 'udp']);
    assert.equal(await canBind(udp, true), false, 'and no stranger’s');

    const inode = statSync(path).ino;
    process.kill(workers[0] as number, 'SIGKILL');
    const successor = await until(
      () => app.workers().find((pid) => !workers.includes(pid) && ledger.of(pid).length === 2),
      () => `a successor:\n${app.stderr}`,
    );
    assert.equal(statSync(path).ino, inode, 'the same file');
    shared.workers = [successor, workers[1] as number];
    await allAnswer(shared, ['path', 'udp'], [successor]);
  });

  test('what comes while the processes are stopped is answered, whoever is killed', async (t) => {
    const shared = await startShared(t, { path: 'file', udp: true });
    const { app, path, udp, workers } = shared;
    await noted(shared, processes(shared), /^(path|udp \d)/, 2);
    const answers = await whileAlone(0, processes(shared), async () => {
      const asked = [...Array.from({ length: 8 }, () => askPath(path)), askUdp(udp), askUdp(udp)];
      await sleep(50);
      for (const pid of workers) process.kill(pid, 'SIGKILL');
      process.kill(app.pid, 'SIGCONT');
      return Promise.all(asked);
    });
    assert.ok(!answers.includes(undefined));
  });

  test('abstract names', async (t) => {
    const shared = await startShared(t, { path: 'abstract' });
    await noted(shared, processes(shared), /^path "/);
    await allAnswer(shared, ['path']);
  });

  test('a path that every process removes first', async (t) => {
    const shared = await startShared(t, { path: 'file', env: { UNLINK: '1' } });
    await noted(shared, processes(shared), /^path "/);
    await allAnswer(shared, ['path']);
  });

  test('a UDP socket that joins a group', async (t) => {
    const shared = await startShared(t, { udp: true, env: { GROUP } });
    await noted(shared, processes(shared), /^udp \d/);
    await allAnswer(shared, ['udp']);
    await tellGroup(GROUP, shared.udp, 'all');
    await until(() => shared.ledger.count('heard all') > 0, 'somebody has heard');
    await sleep(100);
    assert.equal(shared.ledger.count('heard all'), 1);
  });

  for (const hook of [false, true])
    test(`with reuseAddr every process hears what is sent to a group${hook ? '' : ' (plain Node)'}`, async (t) => {
      const env = { GROUP, REUSE: '1' };
      const shared = await startShared(t, { udp: true, env, hook });
      await noted(shared, processes(shared), /^udp \d/);
      await tellGroup(GROUP, shared.udp, 'all');
      await noted(shared, processes(shared), /^heard all/);
    });

  test('a path that is relative to a directory that the app leaves', async (t) => {
    const shared = await startShared(t, { path: 'relative', env: { CHDIR: '/' } });
    await noted(shared, processes(shared), /^path "/);
    await allAnswer(shared, ['path']);
  });

  test('exclusive: true is for the first', async (t) => {
    const shared = await startShared(t, { path: 'file', udp: true, env: { EXCLUSIVE: '1' } });
    const { app, ledger, path, udp, workers } = shared;
    await noted(shared, processes(shared), /^(path|udp) /, 2);
    for (const pid of workers)
      assert.deepEqual(ledger.of(pid).sort(), ['path error listen EADDRINUSE', 'udp error bind EADDRINUSE']);
    assert.equal(await askPath(path), app.pid);
    assert.equal(await askUdp(udp), app.pid);
  });

  test('what only copies open is theirs', async (t) => {
    const shared = await startShared(t, { path: 'file', udp: true, env: { WHERE: 'copies' } });
    const { workers, path, udp } = shared;
    await noted(shared, workers, /^(path|udp \d)/, 2);
    for (const pid of workers) {
      const other = workers.find((worker) => worker !== pid) as number;
      await whileAlone(pid, [pid, other], async () => {
        assert.equal(await askPath(path), pid);
        assert.equal(await askUdp(udp), pid);
      });
    }
  });

  for (const [when, opened] of [
    ['while its copies wait for it', false],
    ['when its copies have opened it', true],
  ] as const)
    test(`an origin that comes ${when} has it, too`, async (t) => {
      const shared = await startShared(t, { path: 'file', udp: true, env: { WHERE: 'told' } });
      if (opened) await noted(shared, shared.workers, /^(path "|udp \d)/, 2);
      process.kill(shared.app.pid, 'SIGUSR1');
      await noted(shared, processes(shared), /^(path "|udp \d)/, 2);
      await allAnswer(shared, ['path', 'udp']);
      assert.deepEqual(
        shared.ledger.entries.filter(({ event }) => event.includes('error')),
        [],
      );
    });

  test('an origin that comes later and removes the path first has it alone, and nobody listens in vain', async (t) => {
    const shared = await startShared(t, { path: 'file', env: { WHERE: 'told', UNLINK: '1' } });
    await noted(shared, shared.workers, /^path "/);
    process.kill(shared.app.pid, 'SIGUSR1');
    await noted(shared, [shared.app.pid], /^path "/);
    assert.ok(existsSync(shared.path));
    for (let i = 0; i < 8; i++) assert.equal(await askPath(shared.path), shared.app.pid);
  });

  test('a path alone does not multiply an app', async (t) => {
    const shared = await startShared(t, { path: 'file', udp: true, tcp: false });
    await noted(shared, [shared.app.pid], /^(path|udp \d)/, 2);
    // longer than a listener has to be there for a copy
    await sleep(1_000);
    assert.deepEqual(childrenOf(shared.app.pid), []);
    assert.equal(await askPath(shared.path), shared.app.pid);
  });
});

describe('close() in the origin', { concurrency: 2 }, () => {
  test('is over when the last connection has ended, whosever that is', async (t) => {
    const env = { RELOAD: 'origin', RELOAD_MS: '60000' };
    const shared = await startShared(t, { path: 'file', env });
    const { app, ledger, path, workers } = shared;
    await noted(shared, processes(shared), /^path "/);
    const [worker] = workers as [number];
    const { asked, answer } = await whileAlone(worker, processes(shared), async () => {
      const begun = beginRequest(path);
      begun.asked.write('x');
      await until(() => ledger.count('asked', worker) === 1, 'the worker has it');
      return begun;
    });
    process.kill(app.pid, 'SIGHUP');
    await noneAnswers(path, 'ENOENT');
    await sleep(200);
    assert.equal(ledger.count('path closed'), 0);
    asked.end();
    assert.equal(await answer, worker);
    await noted(shared, [app.pid], /^path closed/);
  });

  for (const kind of ['file', 'abstract'] as const) {
    test(`ends it everywhere, and it may be opened again (${kind})`, async (t) => {
      const env = { RELOAD: 'origin', RELOAD_MS: '3000' };
      const shared = await startShared(t, { path: kind, udp: true, env });
      const { app, path, udp } = shared;
      await noted(shared, processes(shared), /^(path "|udp \d)/, 2);
      process.kill(app.pid, 'SIGHUP');
      await noneAnswers(path, kind === 'file' ? 'ENOENT' : 'ECONNREFUSED');
      assert.ok(kind === 'abstract' || !existsSync(path));
      await until(() => canBind(udp), 'a free UDP port');
      await noted(shared, [app.pid], /^(path "|udp \d)/, 4);
      assert.equal(await askPath(path), app.pid);
      assert.equal(await askUdp(udp), app.pid);
    });

    for (const ms of ['0', '200']) {
      test(`all close and open again ${ms} ms later (${kind})`, async (t) => {
        const shared = await startShared(t, { path: kind, udp: true, env: { RELOAD: 'all', RELOAD_MS: ms } });
        const { app, ledger, workers } = shared;
        await noted(shared, processes(shared), /^(path "|udp \d)/, 2);
        for (let round = 1; round <= 3; round++) {
          process.kill(app.pid, 'SIGHUP');
          await noted(shared, processes(shared), /^(path "|udp \d)/, 2 + 2 * round);
          await until(
            () =>
              allAnswer(shared, ['path', 'udp']).then(
                () => true,
                () => false,
              ),
            () => `round ${round}: all answer:\n${app.stderr}`,
            40_000,
          );
        }
        assert.deepEqual(
          ledger.entries.filter(({ event }) => event.includes('error')),
          [],
        );
        assert.deepEqual(app.workers(), workers);
      });
    }
  }
});
