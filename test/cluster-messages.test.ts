// SPDX-License-Identifier: Apache-2.0
// process.send() in a worker, cluster.on('message') in the origin: how log4js and others come to one place for all.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { constants } from 'node:os';
import { after, describe, type TestContext, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import {
  type App,
  answeredBy,
  answering,
  fixture,
  freePort,
  hook,
  request,
  startApp,
  until,
} from './support/app';
import { exited, noneLeft } from './support/ending';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
const REQUESTS = 20;
const PATIENCE_MS = 5_000;

const bare = new PackageWithoutAddon();
after(() => bare.remove());
const ways = { 'with the addon': ['-r', hook], ...bare.means };

interface Heard {
  id: number;
  pid: number;
  isWorker: boolean;
  connected: boolean;
  self: boolean;
  workers: string[];
  pids: number[];
  events: string[];
  message: { word: string };
}

async function start(t: TestContext, script: string, flags: string[] | false, env = {}) {
  const app = startApp(fixture(script), { port: await freePort(HOST), hook: flags, env: { HOST, ...env } });
  t.after(() => app.stop());
  if (!flags) await answering(app.port, HOST);
  // not multiplied(), which asks for a page
  for (const index of flags ? [1, 2] : []) await app.said(new RegExp(`worker ${index} is ready`));
  return { app, workers: app.workers() };
}

/** Sends a word on a connection of its own; resolves to what comes back. */
function tell({ port }: App, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, HOST, () => socket.write(word));
    socket.on('data', (data) => {
      text += data;
    });
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`no answer to ${word}`)));
    socket.on('error', reject);
    socket.on('end', () => resolve(text));
  });
}

const heard = (app: App): Heard[] =>
  app.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

describe('log4js', () => {
  /** What it writes for twenty requests, without the time; and who has answered. */
  async function log(t: TestContext, flags: string[] | false) {
    const { app, workers } = await start(t, 'log4js-app.js', flags);
    const by: number[] = [];
    for (let i = 0; i < REQUESTS; i++)
      by.push(answeredBy(await request(app.port, `/page/${i}`, HOST)) as number);
    const lines = (): string[] =>
      stripVTControlCharacters(app.stdout).match(/\[INFO\] default - asked for \/page\/\d+$/gm) ?? [];
    await until(
      () => lines().length >= REQUESTS,
      () => `${REQUESTS} lines:\n${app.stdout}`,
      5_000,
    );
    return { lines: lines().sort(), byWorkers: by.filter((pid) => workers.includes(pid)).length };
  }

  for (const [way, flags] of Object.entries(ways)) {
    test(`each line of a worker is written, as in plain Node (${way})`, async (t) => {
      const plain = await log(t, false);
      assert.equal(plain.lines.length, REQUESTS);
      const { lines, byWorkers } = await log(t, flags);
      assert.deepEqual(lines, plain.lines);
      if (way === 'with the addon') assert.equal(byWorkers, REQUESTS);
      else assert.ok(byWorkers > 0);
    });
  }
});

for (const [way, flags] of Object.entries(ways)) {
  describe(`cluster.on('message') in the origin (${way})`, () => {
    /** Tells until a worker has got the word: without the addon the origin serves, too, and sends nothing. */
    function tellWorker(app: App, word: string): Promise<string> {
      return until(async () => {
        const answer = await tell(app, word);
        return answer !== `by ${app.pid}` && answer;
      }, 'a worker');
    }

    test('hears what a worker sends, and that alone', async (t) => {
      const { app, workers } = await start(t, 'messages-app.js', flags);
      const seen = new Set<string>();
      await until(async () => {
        seen.add(await tellWorker(app, 'word'));
        return workers.every((pid) => seen.has(`by ${pid}`));
      }, 'both workers');
      await until(() => new Set(heard(app).map(({ pid }) => pid)).size === 2, 'both to be heard');
      for (const { pid, pids, ...facts } of heard(app)) {
        assert.deepEqual(pids, workers);
        assert.deepEqual(facts, {
          id: workers.indexOf(pid) + 1,
          isWorker: true,
          connected: true,
          self: true,
          workers: ['1', '2'],
          events: [],
          message: { word: 'word' },
        });
      }
      assert.match(await tellWorker(app, 'answer'), /^to [12]$/);
    });

    test('gets the handle that comes with a message', async (t) => {
      const { app } = await start(t, 'messages-app.js', flags);
      await until(async () => {
        assert.equal(await tell(app, 'hand'), `by ${app.pid}`);
        return heard(app).some(({ message }) => message.word === 'hand');
      }, 'a connection that a worker hands over');
    });

    test('an exception of a listener is an uncaught one, as under cluster', async (t) => {
      const { app, workers } = await start(t, 'messages-app.js', flags, { CATCH: '1' });
      await tellWorker(app, 'throw');
      await until(() => app.stdout.includes('caught: thrown on purpose'), 'the exception');
      const before = heard(app).length;
      await tellWorker(app, 'word');
      await until(() => heard(app).length > before, 'the next message');
      assert.deepEqual(app.workers(), workers);
    });

    test('a request that only a cluster primary could answer is refused: nobody waits for ever', async (t) => {
      const { app } = await start(t, 'messages-app.js', flags);
      const { ENOTSUP } = constants.errno;
      assert.equal(await tellWorker(app, 'query'), `errno ${-ENOTSUP}`);
      await app.said(/a cluster request \(queryServer\) is refused/);
    });

    test('nobody catches it: the app ends', async (t) => {
      const { app, workers } = await start(t, 'messages-app.js', flags);
      await tellWorker(app, 'throw').catch(() => {});
      assert.deepEqual(await exited(app), { code: 1, signal: null });
      await noneLeft(workers);
      // all that it has said has come
      await app.ended;
      assert.match(app.stderr, /Error: thrown on purpose/);
    });

    test('what nobody listens for is lost, not kept, and that is said once', async (t) => {
      const { app } = await start(t, 'messages-app.js', flags, { LATER: '1' });
      for (let i = 0; i < 3; i++) await tellWorker(app, 'early');
      const lost = await app.said(
        /^fastsocket: what workers say by process\.send\(\) \(an object\) is lost: /gm,
      );
      assert.equal(lost.length, 1);
      process.kill(app.pid, 'SIGUSR1');
      await until(() => app.stdout.includes('listens'), 'the origin to listen');
      assert.match(
        app.stdout,
        /^before: \[\]$/m,
        'cluster.workers is the app’s own as long as it does not listen',
      );
      await until(async () => {
        await tellWorker(app, 'late');
        return heard(app).length > 0;
      }, 'a message');
      assert.deepEqual([...new Set(heard(app).map(({ message }) => message.word))], ['late']);
      assert.deepEqual(heard(app)[0]?.workers, ['1', '2']);
    });

    test('a connection that nobody listens for is closed', async (t) => {
      const { app } = await start(t, 'messages-app.js', flags, { LATER: '1' });
      // it would hang
      await until(async () => (await tell(app, 'hand')) === '', 'a connection that a worker hands over');
    });

    test('who has died stands in cluster.workers no longer, and its successor does', async (t) => {
      const { app, workers } = await start(t, 'messages-app.js', flags);
      const [first, second] = workers as [number, number];
      process.kill(first, 'SIGKILL');
      await app.said(/worker 1 ended/);
      await until(async () => {
        await tellWorker(app, 'word').catch(() => {});
        return heard(app).length > 0;
      }, 'a word of somebody');
      assert.ok(heard(app).every(({ pids }) => !pids.includes(first)));
      await app.said(/worker 1 is ready[\s\S]*worker 1 is ready/);
      const [successor] = app.workers().filter((pid) => pid !== second);
      const told = await until(async () => {
        await tellWorker(app, 'word');
        return heard(app).find(({ pid }) => pid === successor);
      }, 'a word of the successor');
      assert.deepEqual(told.pids, [successor, second]);
    });
  });
}
