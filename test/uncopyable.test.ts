// SPDX-License-Identifier: Apache-2.0
// An app that cannot be copied ends up as plain Node, is told why, and loses nothing on the way.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type App, answering, childrenOf, fixture, freePort, root, startApp, until } from './support/app';
import { whoAnswers } from './support/clients';
import { noneLeft } from './support/ending';
import { steady } from './support/steady';
import { temporaryFolder } from './support/temporary';

interface Api {
  active: boolean;
  workers: number;
  core?: number;
  reason?: string;
}

interface Started {
  app: App;
  scratch: string;
  where: { port: number; host: string };
}

async function start(t: TestContext, kind: string, hook = true): Promise<Started> {
  const scratch = temporaryFolder('uncopyable');
  const port = await freePort();
  const app = startApp(fixture('uncopyable.js'), {
    port,
    hook,
    args: [kind],
    env: { SCRATCH: scratch, API: join(root, 'dist/index.cjs'), NODE_DEBUG: '' },
  });
  t.after(async () => {
    const own = childrenOf(app.pid);
    await app.stop();
    await noneLeft(own, 5_000);
  });
  await answering(port, '127.0.0.1');
  return { app, scratch, where: { port, host: '127.0.0.1' } };
}

function api(where: { port: number; host: string }): Promise<Api> {
  return new Promise((resolve, reject) => {
    get({ ...where, path: '/api', agent: false }, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => resolve(JSON.parse(text) as Api));
    }).on('error', reject);
  });
}

/** Lines of ours on an app's stderr. */
const ours = ({ stderr }: App): string[] =>
  stderr.split('\n').filter((line) => line.startsWith('fastsocket: '));

const KINDS: Record<string, RegExp> = {
  'lock file': /the copy exited with code 1 before/,
  'second start throws': /the copy exited with code 1 before/,
  'second start throws after listen()': /the copy exited with code 1 before/,
  // its word that it serves may be lost with it
  'second start fails a moment later':
    /the copy exited with code 1 (soon after it had come to listen|before it listened on everything the original listens on)$/,
  'rejected promise': /the copy exited with code 1 before/,
  'port by pid': /the copy listens on 127\.0\.0\.3:2\d{4}, the original does not/,
  'leaves the port to a worker': /the copy listens on 127\.0\.0\.2:\d+, the original does not/,
  'waits for ever': /did not listen on everything the original listens on within \d{5} ms/,
  'blocks for ever': /did not listen on everything the original listens on within \d{5} ms/,
  'exits with 0': /the copy exited with code 0 before/,
  killed: /the copy was ended by SIGKILL before/,
  'ends whoever is in its pid file': /the copy would have ended the original: process\.kill\(\d+, SIGTERM\)$/,
  'ends whoever has its port': /the copy would have ended the original: grep .* \| xargs -r kill -9$/,
  'ends whoever has its port, and waits for that': /the copy would have ended the original: kill \$\(grep/,
  'asks a cluster primary':
    /the copy sent a cluster request \(queryServer\) that has no primary to answer it/,
  'waits for the word of a primary':
    /exited with code 1 .*; what it said by process\.send\(\) \(lock\) the original/,
};

describe('an app that', { concurrency: true }, () => {
  for (const [kind, reason] of Object.entries(KINDS)) {
    test(kind, async (t) => {
      const { app, where } = await start(t, kind);
      const load = steady(t, 'http', where);
      await until(() => ours(app).length > 0, `a line on stderr:\n${app.stderr}`, 90_000);
      await until(async () => (await api(where)).workers === 0, 'the end of the copy');
      assert.deepEqual(app.workers(), []);
      const { by, failed } = await load.stop();
      assert.deepEqual(failed, []);
      assert.deepEqual([...by.keys()], [app.pid], 'the original has answered everything');
      const said = await api(where);
      assert.match(said.reason ?? '', reason);
      assert.deepEqual(said, { active: false, workers: 0, reason: said.reason });
      assert.deepEqual(ours(app), [`fastsocket: the app runs as plain Node: ${said.reason}`]);
      assert.equal(app.stdout, '');
    });
  }
});

test('the pid file of an app that ends whoever is in it is left to the original', async (t) => {
  const { app, scratch } = await start(t, 'ends whoever is in its pid file, and removes it');
  await until(() => ours(app).length > 0, `a line on stderr:\n${app.stderr}`);
  await until(() => childrenOf(app.pid).length === 0, 'the end of the copy');
  assert.equal(readFileSync(join(scratch, 'file'), 'utf8'), String(app.pid));
});

test('an app whose copies serve for a while, and fail then', async (t) => {
  const { app, where } = await start(t, 'second start fails a while later');
  await until(() => ours(app).length > 0, `a line on stderr:\n${app.stderr}`);
  await until(async () => (await api(where)).workers === 0, 'the end of the copies');
  const said = await api(where);
  assert.match(said.reason ?? '', /the copy exited with code 1 soon after it had come to listen, 3 times/);
  assert.deepEqual(ours(app), [`fastsocket: the app runs as plain Node: ${said.reason}`]);
  for (let i = 0; i < 24; i++) assert.equal(await whoAnswers('http', where), app.pid);
  assert.deepEqual(app.workers(), []);
});

describe('an app that uses cluster itself', { concurrency: 2 }, () => {
  for (const kind of ['forks', 'listens, then forks', 'listens, forks soon']) {
    test(kind, async (t) => {
      const { app, where } = await start(t, kind);
      const plain = await start(t, kind, false);
      const load = steady(t, 'http', where);
      const own = kind === 'forks' ? 2 : 1;
      await until(() => app.workers().length === own, `${own} workers of its own`);
      // longer than the second that an app with cluster has for its forks, and the start of a copy
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      assert.equal(app.workers().length, own, 'and none of ours');
      const { by, failed } = await load.stop();
      assert.deepEqual(failed, []);
      const answerers = new Set(kind === 'forks' ? app.workers() : [app.pid]);
      assert.deepEqual(new Set(by.keys()), answerers);
      assert.equal(app.stderr, plain.app.stderr);
      if (kind !== 'forks')
        assert.deepEqual(await api(where), {
          active: false,
          workers: 0,
          reason: 'the app forks cluster workers of its own',
        });
    });
  }

  test('listens, forks late: our workers drain and go', async (t) => {
    const { app, scratch, where } = await start(t, 'listens, forks late');
    const workers = await until(async () => {
      await whoAnswers('http', where);
      return app.workers().length === 2 ? app.workers() : undefined;
    }, 'two workers of ours');
    await until(async () => workers.includes(await whoAnswers('http', where)), 'an answer of a worker');
    const load = steady(t, 'http', where, 4);
    await until(() => workers.every((pid) => load.by.has(pid)), 'answers of both');
    writeFileSync(join(scratch, 'now'), '');
    await until(() => !workers.some((pid) => app.workers().includes(pid)), 'the end of our workers');
    await until(() => load.by.has(app.pid), 'an answer of the original');
    const { failed } = await load.stop();
    assert.deepEqual(failed, []);
    assert.equal(app.workers().length, 1, 'its own worker');
    assert.equal(await whoAnswers('http', where), app.pid);
    assert.equal(app.stderr, '');
    await until(async () => (await api(where)).workers === 0, 'none of ours counted');
    assert.deepEqual(await api(where), {
      active: false,
      workers: 0,
      reason: 'the app forks cluster workers of its own',
    });
  });
});
