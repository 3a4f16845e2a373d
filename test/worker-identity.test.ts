// SPDX-License-Identifier: Apache-2.0
// What an app sees of itself: in the origin nothing has changed, a worker is a cluster worker that was started as the app was.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type App,
  type AppOptions,
  answering,
  fixture,
  freePort,
  lives,
  multiplied,
  root,
  startApp,
  until,
} from './support/app';
import { ask, askEach } from './support/ask';
import { Ledger } from './support/ledger';

interface Facts {
  pid: number;
  isWorker: boolean;
  isPrimary: boolean;
  workerId?: number;
  sameProcess?: boolean;
  clusterWorkers: string[];
  settings: object;
  clusterEvents: string[];
  messages: unknown[];
  core?: string;
  uniqueId?: string;
  stdin: string;
  stdinIsTTY?: boolean;
  connected?: boolean;
  send: string;
  handlers: string[];
  api: { active: boolean; core?: number; workers: number; reason?: string };
  argv: string[];
  execArgv: string[];
  cwd: string;
  umask: number;
  env: Record<string, string>;
  title: string;
}

async function start(t: TestContext, options: AppOptions = {}): Promise<App> {
  const env = { API: join(root, 'dist/index.cjs'), SECRET: 'known to the copies', ...options.env };
  const app = startApp(fixture('identity.js'), { ...options, port: await freePort(), env });
  t.after(() => app.stop());
  await answering(app.port);
  return app;
}

const parts = ({ argv, execArgv, cwd, umask, env, title }: Facts) => ({
  argv,
  execArgv,
  cwd,
  umask,
  env,
  title,
});

test('the origin is what the process would be without the hook', async (t) => {
  const plain = await start(t, { hook: false, execArgv: ['--no-warnings'] });
  const expected = await ask<Facts>(plain.port, '/facts');
  await plain.stop();
  const app = await start(t, { execArgv: ['--no-warnings'] });
  const origin = await ask<Facts>(app.port, '/facts');
  assert.equal(origin.pid, app.pid);
  assert.deepEqual(origin.api, { active: false, workers: 0 });
  // the flag itself is there to be seen, as any -r
  const [flag, hook, ...execArgv] = origin.execArgv;
  assert.deepEqual([flag, hook?.endsWith('register.cjs')], ['-r', true]);
  const same = (facts: Facts) => ({ ...facts, pid: 0, env: { ...facts.env, PORT: '' }, api: {} });
  assert.deepEqual({ ...same(origin), execArgv }, same(expected));
});

test('workers are cluster workers, started as the app was', async (t) => {
  const app = await start(t, {
    args: ['an argument', '--flag=1'],
    execArgv: ['--no-warnings', '--stack-trace-limit=20'],
    cwd: '/tmp',
    prefix: ['sh', '-c', 'exec "$0" "$@" < /proc/version'],
  });
  const origin = await ask<Facts>(app.port, '/facts');
  assert.equal(origin.pid, app.pid);
  const pids = await multiplied(app);
  const workers = await askEach<Facts>(app.port, '/facts', pids);
  for (const worker of workers) {
    const { FASTSOCKET_CORE: _core, ...env } = worker.env;
    assert.deepEqual({ ...parts(worker), env }, parts(origin));
    assert.equal(worker.env['SECRET'], 'known to the copies');
    assert.deepEqual([worker.isWorker, worker.isPrimary, worker.sameProcess], [true, false, true]);
    assert.deepEqual([origin.stdin, worker.stdin], ['/proc/version', '/dev/null']);
    assert.deepEqual([worker.connected, worker.send, worker.uniqueId], [true, 'function', undefined]);
    assert.deepEqual(worker.messages, []);
    assert.deepEqual(worker.clusterEvents, []);
    assert.equal(worker.api.reason, undefined);
    assert.deepEqual([worker.api.active, worker.api.workers], [true, 2]);
  }
  assert.deepEqual(workers.map(({ workerId }) => workerId).sort(), [1, 2]);
  if (availableParallelism() >= 2) {
    assert.equal(new Set(workers.map(({ core }) => core)).size, 2, 'a core each');
    for (const { core, api } of workers) assert.equal(api.core, Number(core));
  }
  assert.equal(app.stdout, '');
});

test("the origin's cluster module stays the app's own but for what the copies send and where from, and nobody sees the messages of the tree", async (t) => {
  const ledger = new Ledger();
  const app = await start(t, { env: { LEDGER: ledger.path, ON_MESSAGE: '1' } });
  const pids = await multiplied(app);
  for (const worker of await askEach<Facts>(app.port, '/facts', pids)) assert.deepEqual(worker.messages, []);
  process.kill(pids[0] as number, 'SIGKILL');
  await until(() => app.stderr.match(/is ready/g)?.length === 3, 'a new worker');
  process.kill(app.pid, 'SIGUSR1');
  const [said] = await until(
    () => (ledger.of(app.pid).length > 0 ? ledger.of(app.pid) : undefined),
    'the word of the origin',
  );
  const origin = JSON.parse(said as string) as Facts;
  // each of the three copies has sent one at its start; since the app listens for these, it finds those who send them
  assert.deepEqual(
    [origin.clusterWorkers, origin.clusterEvents, origin.messages, origin.settings],
    [['1', '2'], ['message', 'message', 'message'], [], {}],
  );
  assert.deepEqual(
    [origin.isWorker, origin.isPrimary, origin.workerId, origin.connected],
    [false, true, undefined, undefined],
  );
  assert.deepEqual(origin.api, { active: true, workers: 2 });
});

test('cluster.worker.disconnect() ends a worker in peace, and another one takes its place', async (t) => {
  const app = await start(t);
  const before = await multiplied(app);
  const failed: string[] = [];
  let going = true;
  const load = (async () => {
    while (going) await ask(app.port, '/facts').catch((error: Error) => failed.push(error.message));
  })();
  t.after(() => {
    going = false;
  });
  const { pid } = await ask<Facts>(app.port, '/disconnect');
  assert.ok(before.includes(pid));
  await until(() => !lives(pid), 'the end of the worker');
  await app.said(/worker \d ended \(code 0, signal null\)/);
  await until(() => app.stderr.match(/is ready/g)?.length === 3, 'a new worker');
  going = false;
  await load;
  assert.deepEqual(failed, []);
  assert.equal(app.workers().length, 2);
});
