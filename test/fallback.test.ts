// SPDX-License-Identifier: Apache-2.0
// Without the addon the app still runs on every core, by what Node alone can do.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import {
  type App,
  type AppOptions,
  answering,
  census,
  fixture,
  freePort,
  hook,
  lives,
  multiplied,
  request,
  startApp,
  until,
} from './support/app';
import { whoAnswers } from './support/clients';
import { Load } from './support/load';
import { queuedOn } from './support/queues';
import { startTree } from './support/signals';
import { temporaryFolder } from './support/temporary';
import { PackageWithoutAddon } from './support/without-addon';

const bare = new PackageWithoutAddon();
after(() => bare.remove());

const cpusOf = (file: string): string =>
  /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1] as string;
const masks = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map((tid) => cpusOf(`/proc/${pid}/task/${tid}/status`));
const notices = (app: App): string[] =>
  app.stderr.split('\n').filter((line) => line.startsWith('fastsocket: '));
const skipOnOneCpu = {
  skip:
    cpusOf('/proc/self/status').includes('-') || cpusOf('/proc/self/status').includes(',')
      ? false
      : 'needs two CPUs',
};

async function start(
  t: TestContext,
  options: AppOptions,
  script = 'http-app.js',
): Promise<{ app: App; workers: number[] }> {
  const port = await freePort();
  const host = '127.0.0.1';
  const own = { HOST: host, LEDGER: '/dev/null', ADDRESSES: JSON.stringify([{ port, host }]) };
  const app = startApp(fixture(script), { port, ...options, env: { ...own, ...options.env } });
  t.after(() => app.stop());
  return { app, workers: await multiplied(app, 2, '127.0.0.1') };
}

async function answersFrom(app: App, pids: number[]): Promise<void> {
  const seen = new Set<number>();
  await until(async () => {
    for (const pid of (await census(app.port, 10, '127.0.0.1')).keys()) seen.add(pid);
    return pids.every((pid) => seen.has(pid));
  }, `answers from all of ${pids}`);
}

describe('the addon is missing', () => {
  for (const [means, flags] of Object.entries(bare.means)) {
    test(`${means}: origin and workers serve, one line says so`, skipOnOneCpu, async (t) => {
      const { app, workers } = await start(t, { hook: flags });
      assert.equal(workers.length, 2);
      await answersFrom(app, [app.pid, ...workers]);
      assert.equal(app.stdout, '');
      const [notice, ...others] = notices(app);
      assert.deepEqual(others, []);
      assert.match(
        notice ?? '',
        new RegExp(`the addon could not be loaded \\(.+\\); 2 workers (with|on) ${means}`),
      );
      assert.match(notice ?? '', /pinned by taskset as a whole, their thread pools and started programs too/);
    });
  }

  test('workers are pinned to distinct CPUs with all of their threads', skipOnOneCpu, async (t) => {
    const { app, workers } = await start(t, { hook: ['-r', bare.hook] });
    const cores = workers.map((pid) => {
      const [core, ...others] = new Set(masks(pid));
      assert.deepEqual(others, [], `all threads of ${pid} have one mask`);
      return core;
    });
    assert.equal(new Set(cores).size, 2);
    assert.ok(
      cores.every((core) => /^\d+$/.test(core as string)),
      `one CPU each: ${cores}`,
    );
    assert.deepEqual(
      new Set(masks(app.pid)),
      new Set([cpusOf('/proc/self/status')]),
      'the origin keeps its mask',
    );
  });

  test('node --no-addons', async (t) => {
    const { app, workers } = await start(t, { hook: ['-r', hook], execArgv: ['--no-addons'] });
    await answersFrom(app, workers);
    assert.match(notices(app).join(), /the addon could not be loaded \(.*(disabled|no-addons)/i);
  });

  test('no taskset: unpinned, and the line says why', async (t) => {
    const { app, workers } = await start(t, { hook: ['-r', bare.hook], env: { PATH: '/nonexistent' } });
    assert.match(notices(app).join(), /not pinned: there is no taskset in PATH/);
    for (const pid of workers) assert.deepEqual(new Set(masks(pid)), new Set([cpusOf('/proc/self/status')]));
  });

  test('taskset fails: unpinned, and the line says why', skipOnOneCpu, async (t) => {
    const folder = temporaryFolder('taskset');
    writeFileSync(
      join(folder, 'taskset'),
      '#!/bin/sh\necho "taskset: Operation not permitted" >&2\nexit 1\n',
    );
    chmodSync(join(folder, 'taskset'), 0o755);
    const { app } = await start(t, {
      hook: ['-r', bare.hook],
      env: { PATH: `${folder}:${process.env['PATH']}` },
    });
    assert.match(notices(app).join(), /not pinned: taskset failed \(taskset: Operation not permitted\)/);
  });

  test('FASTSOCKET_PIN=off: taskset is not used', async (t) => {
    const { app, workers } = await start(t, { hook: ['-r', bare.hook], env: { FASTSOCKET_PIN: 'off' } });
    assert.match(notices(app).join(), /not pinned: FASTSOCKET_PIN=off/);
    for (const pid of workers) assert.deepEqual(new Set(masks(pid)), new Set([cpusOf('/proc/self/status')]));
  });

  test('one worker: plain Node, and nothing is said', async (t) => {
    const port = await freePort();
    const app = startApp(fixture('http-app.js'), {
      port,
      hook: ['-r', bare.hook],
      env: { FASTSOCKET_WORKERS: '1' },
    });
    t.after(() => app.stop());
    await app.said(/one worker is no gain/);
    await answering(port);
    assert.deepEqual(notices(app), []);
  });
});

for (const [means, flags] of Object.entries(bare.means)) {
  describe(means, () => {
    test('a second instance gets EADDRINUSE as from plain Node', async (t) => {
      const { app, workers } = await start(t, { hook: flags });
      const second = async (flagsOfSecond: AppOptions['hook']) => {
        const other = startApp(fixture('http-app.js'), {
          port: app.port,
          env: { HOST: '127.0.0.1', NODE_DEBUG: '' },
          ...(flagsOfSecond === undefined ? {} : { hook: flagsOfSecond }),
        });
        t.after(() => other.stop());
        await until(() => other.child.exitCode !== null, 'the end of the second instance');
        const { code } = await other.ended;
        return { code, error: other.stderr.split('\n').find((line) => line.startsWith('{')) };
      };
      const plain = await second(false);
      assert.equal(plain.code, 3);
      assert.match(plain.error ?? '', /EADDRINUSE/);
      assert.deepEqual(await second(flags), plain);
      assert.deepEqual(app.workers(), workers);
    });

    test('a killed worker is replaced, and what waits in its queue is answered', async (t) => {
      const { app, workers } = await start(t, { hook: flags, env: { BACKLOG: '511' } });
      const [victim, other] = workers as [number, number];
      process.kill(victim, 'SIGSTOP');
      const clients = 60;
      let answered = 0;
      const all = Array.from({ length: clients }, () =>
        request(app.port).then((text) => {
          assert.match(text, /hello$/);
          answered++;
        }),
      );
      await until(() => answered + queuedOn(app.port) === clients, 'every connection is answered or queued');
      const queued = queuedOn(app.port);
      t.diagnostic(`${queued} of ${clients} connections were queued on the killed worker`);
      process.kill(victim, 'SIGKILL');
      await Promise.all(all);
      const successor = await until(
        () => app.workers().find((pid) => pid !== victim && pid !== other),
        'a successor',
      );
      // the socket that the origin has served meanwhile goes then, with what comes in that moment
      await until(
        () => (app.stderr.match(/worker \d+ is ready/g)?.length ?? 0) >= 3,
        () => `the successor to be ready:\n${app.stderr}`,
      );
      await answersFrom(app, [successor, other, app.pid]);
    });

    test('the share of a worker whose successors all fail is served', async (t) => {
      const folder = temporaryFolder('fail');
      const when = join(folder, 'now');
      const { app, workers } = await start(t, {
        hook: [...flags, '-r', fixture('fails-as-worker.cjs')],
        env: { WHEN: when },
      });
      writeFileSync(when, '');
      process.kill(workers[0] as number, 'SIGKILL');
      await app.said(/worker \d+ ended \(code 9/);
      const clients = 40;
      let answered = 0;
      for (let i = 0; i < clients; i++) request(app.port).then(() => answered++, assert.fail);
      await until(() => answered === clients, 'an answer to each', 5_000);
    });

    test('worker after worker killed under load: no connection is refused', async (t) => {
      const { app } = await start(t, { hook: flags });
      const clients = 8;
      const kills = 6;
      const load = new Load(app.port, { clients });
      for (let i = 0; i < kills; i++) {
        const before = load.answered;
        await until(() => load.answered > before + 50 && app.workers().length === 2, 'load is served');
        process.kill(app.workers()[i % 2] as number, 'SIGKILL');
      }
      await until(() => app.workers().length === 2, 'two workers again');
      load.stop();
      await until(() => load.pending === 0, 'all have ended');
      const { refused, lost, answered } = await load.result();
      t.diagnostic(`${kills} kills: ${answered} answered, ${lost} lost, ${refused} refused`);
      assert.equal(refused, 0);
      assert.ok(lost <= kills * clients, `${lost} requests lost`);
    });

    for (const action of [
      'another server when closed',
      ...(means === 'one shared socket' ? [] : ['another server']),
    ]) {
      test(`the app closes and listens again: ${action}`, async (t) => {
        const { app, workers } = await start(
          t,
          {
            hook: flags,
            env: { ON_USR1: action, KEEP: '1' },
          },
          'listeners.js',
        );
        process.kill(app.pid, 'SIGUSR1');
        const fresh = await until(() => {
          const pids = app.workers().filter((pid) => !workers.includes(pid));
          return pids.length === 2 ? pids : undefined;
        }, 'two new workers');
        const seen = new Set<number>();
        await until(async () => {
          seen.add(await whoAnswers('http', { port: app.port, host: '127.0.0.1' }));
          return fresh.every((pid) => seen.has(pid));
        }, 'answers of both');
      });
    }

    test('a worker is replaced after the app has dropped its user', {
      skip: process.getuid?.() !== 0 && 'needs root',
    }, async (t) => {
      const { app, workers } = await startTree(t, { DROP_LATER: '65534' }, { hook: flags });
      const [victim] = workers as [number];
      process.kill(victim, 'SIGKILL');
      const successor = await until(() => app.workers().find((pid) => !workers.includes(pid)), 'a successor');
      await answersFrom(app, [...app.workers(), successor]);
    });

    test('getConnections() counts the whole group', async (t) => {
      const { app } = await start(t, { hook: flags });
      const sockets = 12;
      const { connect } = await import('node:net');
      const open = Array.from({ length: sockets }, () => connect(app.port, '127.0.0.1'));
      t.after(() => open.forEach((socket) => socket.destroy()));
      await Promise.all(open.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
      await until(() => queuedOn(app.port) === 0, 'all are accepted');
      // asked in a worker it is the worker's own count, so ask until the origin answers
      await until(
        async () => (await request(app.port, '/count')).endsWith(String(sockets + 1)),
        'the count of all',
      );
    });

    test('an app that ends whoever is in its pid file stays one process', async (t) => {
      const port = await freePort();
      const scratch = temporaryFolder('fallback');
      const app = startApp(fixture('uncopyable.js'), {
        port,
        hook: flags,
        args: ['ends whoever is in its pid file'],
        env: { SCRATCH: scratch },
      });
      t.after(() => app.stop());
      await app.said(/the app runs as plain Node: the copy would have ended the original: process\.kill/);
      for (let i = 0; i < 20; i++)
        assert.equal(await whoAnswers('http', { port, host: '127.0.0.1' }), app.pid);
    });

    test('an app that cannot be copied stays one process', async (t) => {
      const port = await freePort();
      const app = startApp(fixture('http-app.js'), {
        port,
        hook: flags,
        env: { ONLY_ORIGIN: '1' },
        execArgv: ['-r', fixture('fails-as-worker.cjs')],
      });
      t.after(() => app.stop());
      await app.said(/the app runs as plain Node: the copy exited with code 9/);
      const seen = await census(port, 20);
      assert.deepEqual([...seen.keys()], [app.pid]);
      assert.ok(lives(app.pid));
    });
  });
}
