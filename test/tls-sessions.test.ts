// SPDX-License-Identifier: Apache-2.0
// A TLS session that one process has begun is resumed by each of the others, as one process resumes its own: the keys of
// session tickets are everybody's.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { connect, type SecureVersion } from 'node:tls';
import { type App, answeredBy, fixture, freePort, hook, startApp, until } from './support/app';
import { temporaryFolder } from './support/temporary';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
/** Visits with each session, at least. */
const VISITS = 6;

const bare = new PackageWithoutAddon();
after(() => bare.remove());

/** A port, or a path. */
type Where = number | string;

interface Visit {
  pid: number;
  round: number;
  reused: boolean;
  session: Buffer | undefined;
}

/** One request on a connection of its own, which begins a session or goes on with this one. */
async function visit(
  where: Where,
  maxVersion: SecureVersion,
  { session, url = '/' }: { session?: Buffer; url?: string } = {},
): Promise<Visit> {
  const socket = connect({
    ...(typeof where === 'number' ? { port: where, host: HOST } : { path: where }),
    servername: 'localhost',
    rejectUnauthorized: false,
    maxVersion,
    ...(session && { session }),
  });
  let text = '';
  let begun: Buffer | undefined;
  socket.on('session', (data: Buffer) => {
    begun = data;
  });
  socket.on('data', (data) => {
    text += data;
  });
  await once(socket, 'secureConnect');
  const reused = socket.isSessionReused();
  socket.write(`GET ${url} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`);
  await once(socket, 'close');
  const pid = answeredBy(text) as number;
  assert.ok(pid > 0, text);
  return { pid, round: Number(/^x-round: (\d+)/im.exec(text)?.[1]), reused, session: begun };
}

/** A session that each of these has begun. */
async function begin(
  where: Where,
  pids: readonly number[],
  version: SecureVersion,
): Promise<Map<number, Buffer>> {
  const sessions = new Map<number, Buffer>();
  await until(async () => {
    const { pid, session } = await visit(where, version);
    if (session) sessions.set(pid, session);
    return pids.every((one) => sessions.has(one));
  }, `sessions of ${pids}`);
  return sessions;
}

/** Whoever has begun a session, each of these goes on with it. */
async function resumedByAll(
  where: Where,
  pids: readonly number[],
  sessions: ReadonlyMap<number, Buffer>,
  version: SecureVersion,
): Promise<void> {
  for (const [begunBy, session] of sessions) {
    const seen = new Set<number>();
    let visits = 0;
    await until(async () => {
      const { pid, reused } = await visit(where, version, { session });
      assert.ok(reused, `${pid} does not know the session of ${begunBy}`);
      seen.add(pid);
      return ++visits >= VISITS && pids.every((one) => seen.has(one));
    }, `${pids} to go on with it`);
  }
}

async function start(t: TestContext, flags: string[] | false, env: Record<string, string> = {}) {
  const app = startApp(fixture('tls-app.js'), { port: await freePort(HOST), hook: flags, env });
  t.after(() => app.stop());
  await until(
    () => visit(app.port, 'TLSv1.3').then(Boolean, () => false),
    () => `an answer:\n${app.stderr}`,
  );
  return app;
}

async function multiplied(app: App): Promise<number[]> {
  for (const index of [1, 2]) await app.said(new RegExp(`worker ${index} is ready`));
  return app.workers();
}

const ways = { 'with the addon': ['-r', hook], ...bare.means };

describe('a TLS session', { concurrency: 2 }, () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`plain Node, ${version}`, async (t) => {
      const app = await start(t, false);
      await resumedByAll(app.port, [app.pid], await begin(app.port, [app.pid], version), version);
    });

    for (const [way, flags] of Object.entries(ways))
      test(`${way}, ${version}: begun before there are workers, and by each of them`, async (t) => {
        const app = await start(t, flags);
        const { pid, session } = await visit(app.port, version);
        assert.equal(pid, app.pid, 'the origin has begun it');
        const workers = await multiplied(app);
        await resumedByAll(app.port, workers, new Map([[pid, session as Buffer]]), version);
        await resumedByAll(app.port, workers, await begin(app.port, workers, version), version);
      });
  }

  for (const [way, flags] of Object.entries(ways))
    test(`${way}: by a successor, too`, async (t) => {
      const app = await start(t, flags);
      const workers = await multiplied(app);
      const sessions = await begin(app.port, workers, 'TLSv1.3');
      process.kill(workers[0] as number, 'SIGKILL');
      await app.said(/worker 1 is ready[\s\S]*worker 1 is ready/);
      await resumedByAll(app.port, app.workers(), sessions, 'TLSv1.3');
    });

  test('after a reload, in which every process has made a server with other keys', async (t) => {
    const app = await start(t, ['-r', hook]);
    const workers = await multiplied(app);
    process.kill(app.pid, 'SIGHUP');
    const renewed = new Set<number>();
    await until(
      async () => {
        const { pid, round } = await visit(app.port, 'TLSv1.3').catch(() => ({ pid: 0, round: 0 }));
        if (round === 2) renewed.add(pid);
        return workers.every((one) => renewed.has(one));
      },
      () => `new servers in ${workers}:\n${app.stderr}`,
    );
    await resumedByAll(app.port, workers, await begin(app.port, workers, 'TLSv1.3'), 'TLSv1.3');
  });

  for (const [who, COPIES] of [
    ['of which the first process has one, too', ''],
    ['which only copies have at first', 'yes'],
  ] as const)
    for (const [kind, flags] of [
      ['with the addon', ['-r', hook]],
      ["of the app's own cluster workers", false],
    ] as const) {
      if (!flags && COPIES) continue;
      test(`of servers on a path, ${who}: ${kind}`, async (t) => {
        const folder = temporaryFolder('tls');
        const PATH_NAME = join(folder, 'socket');
        const app = await start(t, flags ? [...flags] : false, {
          PATH_NAME,
          COPIES,
          ...(flags ? {} : { CLUSTER: '1' }),
        });
        const workers = flags ? await multiplied(app) : app.workers();
        const all = COPIES || !flags ? workers : [app.pid, ...workers];
        await until(
          () => visit(PATH_NAME, 'TLSv1.3').then(Boolean, () => false),
          () => `an answer on the path:\n${app.stderr}`,
        );
        const sessions = await begin(PATH_NAME, all, 'TLSv1.3');
        await resumedByAll(PATH_NAME, all, sessions, 'TLSv1.3');
        if (!COPIES) return;
        process.kill(app.pid, 'SIGUSR1');
        await resumedByAll(PATH_NAME, [app.pid, ...workers], sessions, 'TLSv1.3');
      });
    }

  for (const [way, flags] of Object.entries(ways))
    test(`${way}: with keys that the app has changed since, by a worker that has closed and listens again`, async (t) => {
      const app = await start(t, flags);
      const workers = await multiplied(app);
      process.kill(app.pid, 'SIGUSR2');
      for (const pid of [app.pid, ...workers]) await app.said(new RegExp(`^${pid} has other keys`, 'm'));
      const closed = await until(async () => {
        const { pid } = await visit(app.port, 'TLSv1.3', { url: '/again' });
        return workers.includes(pid) && pid;
      }, 'a worker');
      await app.said(new RegExp(`^${closed} listens again`, 'm'));
      await resumedByAll(app.port, workers, await begin(app.port, workers, 'TLSv1.3'), 'TLSv1.3');
    });

  test("of the app's own cluster workers, which have it from Node", async (t) => {
    const app = await start(t, ['-r', hook], { CLUSTER: '1' });
    await app.said(/worker \d+ serves \S+ from socket[\s\S]*worker \d+ serves \S+ from socket/);
    const workers = app.workers();
    await resumedByAll(app.port, workers, await begin(app.port, workers, 'TLSv1.3'), 'TLSv1.3');
  });
});
