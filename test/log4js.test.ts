// SPDX-License-Identifier: Apache-2.0
// log4js writes a file: no line is lost and none is there twice, whoever answers, dies or ends.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type App, answeredBy, answering, fixture, freePort, request, startApp, until } from './support/app';
import { exited } from './support/ending';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
const REQUESTS = 40;
const AT_ONCE = 6;

interface Scene {
  app: App;
  workers: number[];
  /** How often each line stands in the file. */
  lines(): Map<string, number>;
}

async function start(t: TestContext, hook: boolean, env: Record<string, string> = {}): Promise<Scene> {
  const folder = temporaryFolder('log4js');
  const file = join(folder, 'log');
  const app = startApp(fixture('log4js-file.js'), {
    port: await freePort(HOST),
    hook,
    env: { HOST, FILE: file, ...env },
  });
  t.after(() => app.stop());
  // asks for no page, which would be a line
  for (const index of hook ? [1, 2] : []) await app.said(new RegExp(`worker ${index} is ready`));
  if (!hook) await answering(app.port, HOST);
  return {
    app,
    workers: app.workers(),
    lines() {
      const count = new Map<string, number>();
      const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
      for (const line of text.split('\n').filter(Boolean)) count.set(line, (count.get(line) ?? 0) + 1);
      return count;
    },
  };
}

/** Asks for pages of these names, some at a time; resolves to who has answered each. */
async function load({ app }: Scene, names: string[]): Promise<Map<string, number>> {
  const by = new Map<string, number>();
  const left = [...names];
  const client = async () => {
    for (let name = left.shift(); name; name = left.shift()) {
      const pid = answeredBy(await request(app.port, name, HOST).catch(() => ''));
      if (pid !== undefined) by.set(name, pid);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  return by;
}

const pages = (prefix: string, count = REQUESTS): string[] =>
  Array.from({ length: count }, (_, i) => `/${prefix}/${i}`);

/** The end by SIGTERM; what stands in the file then. */
async function end(scene: Scene): Promise<Map<string, number>> {
  scene.app.child.kill('SIGTERM');
  assert.deepEqual(await exited(scene.app), { code: 0, signal: null });
  const lines = scene.lines();
  // plain Node was asked whether it answers
  lines.delete('/');
  return lines;
}

const once = (lines: Iterable<string>): Map<string, number> => new Map([...lines].sort().map((l) => [l, 1]));
const sorted = (lines: Map<string, number>): Map<string, number> => new Map([...lines].sort());

describe('log4js: each line once', { concurrency: 2 }, () => {
  const MODES: Record<string, Record<string, string>> = {
    'as it comes': {},
    'loaded when the server listens': { LOADED: 'listening' },
    disableClustering: { LOG4JS: '{"disableClustering":true}' },
    'pm2: true': { LOG4JS: '{"pm2":true}' },
    'pm2: true, under the first number': { LOG4JS: '{"pm2":true}', NODE_APP_INSTANCE: '0' },
  };
  for (const [mode, env] of Object.entries(MODES)) {
    // the file says the same in all modes
    for (const hook of mode === 'as it comes' ? [false, true] : [true]) {
      test(`${mode}, ${hook ? 'with the hook' : 'plain Node'}: at work, and at the end`, async (t) => {
        const scene = await start(t, hook, env);
        const { app, workers } = scene;
        const names = pages('page');
        const by = await load(scene, names);
        assert.equal(by.size, names.length);
        if (hook) for (const pid of by.values()) assert.ok(workers.includes(pid), 'a worker has answered');
        // some are being answered when the signal comes
        const slow = pages('slow', AT_ONCE);
        const last = load(scene, slow);
        await until(() => app.stdout.split('\n').length > AT_ONCE, 'requests to end with');
        const lines = await end(scene);
        assert.equal((await last).size, slow.length);
        const closed = [app.pid, ...workers].map((pid) => `closed by ${pid}`);
        assert.deepEqual(sorted(lines), once([...names, ...slow, ...closed]));
        assert.doesNotMatch(app.stderr, /^fastsocket: /m);
      });
    }
  }

  test('a worker is killed under load', async (t) => {
    const scene = await start(t, true);
    const { app, workers } = scene;
    const names = pages('page', 4 * REQUESTS);
    const asked = load(scene, names);
    await until(() => scene.lines().size > REQUESTS, 'a part of them');
    process.kill(workers[0] as number, 'SIGKILL');
    const by = await asked;
    await until(() => app.workers().length === 2, 'a successor');
    await app.said(/worker 1 is ready[\s\S]*worker 1 is ready/);
    const lines = await end(scene);
    for (const name of by.keys()) assert.equal(lines.get(name), 1, `${name} was answered`);
    for (const [line, count] of lines) assert.equal(count, 1, line);
    assert.ok(by.size >= names.length - 2 * AT_ONCE, `${by.size} of ${names.length} answered`);
  });
});

test('log4js that the origin never loads: what is lost is said', async (t) => {
  const scene = await start(t, true, { LOADED: 'request' });
  await load(scene, pages('page', 4));
  await scene.app.said(/^fastsocket: what workers say by process\.send\(\) \(log4js:message\) is lost: /m);
});
