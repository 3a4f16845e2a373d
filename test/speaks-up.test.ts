// SPDX-License-Identifier: Apache-2.0
// process.send() of a worker that the app's own primary does not listen for: it is meant for whoever has started the app.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { describe, type TestContext, test } from 'node:test';
import { nameOfMessage, type Parent, Unheard } from '../lib/workers/unheard';
import { App, answeredBy, answering, fixture, freePort, hook, request, startApp, until } from './support/app';

const HOST = '127.0.0.1';
const PATHS = Array.from({ length: 20 }, (_, i) => `/page/${i}`);

type Said = 'ready' | { type: 'asked'; path: string };

/** Starts the app as fork() does; what it says to us. */
async function startChild(t: TestContext, hooked: boolean, more: Record<string, string> = {}) {
  const port = await freePort(HOST);
  const env = { PORT: String(port), HOST, FASTSOCKET_WORKERS: '2', NODE_DEBUG: 'fastsocket' };
  const child = fork(fixture('speaks-up.js'), {
    env: { ...env, ...more },
    execArgv: hooked ? ['-r', hook] : [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const app = new App(child, port);
  t.after(() => app.stop());
  const said: Said[] = [];
  child.on('message', (message: Said) => said.push(message));
  await until(() => said.includes('ready'), 'the app is ready');
  for (const index of hooked ? [1, 2] : []) await app.said(new RegExp(`worker ${index} is ready`));
  const workers = app.workers();
  for (const path of PATHS) {
    const pid = answeredBy(await request(port, path, HOST));
    assert.ok(hooked ? workers.includes(pid as number) : pid === app.pid);
  }
  return { app, said };
}

const inOrder = (said: Said[]): string[] => said.map((one) => (one === 'ready' ? one : one.path)).sort();

describe('an app whose parent listens', { concurrency: 2 }, () => {
  for (const hooked of [false, true]) {
    test(`it hears each word once, ${hooked ? 'with the hook' : 'plain Node'}`, async (t) => {
      const { app, said } = await startChild(t, hooked);
      await until(() => said.length > PATHS.length, 'all words');
      assert.deepEqual(inOrder(said), [...PATHS, 'ready'].sort());
      assert.doesNotMatch(app.stderr, /^fastsocket: /m);
    });
  }

  test('what the app listens for itself goes no further, as under cluster', async (t) => {
    const { app, said } = await startChild(t, true, { LISTENS: '1' });
    await until(() => PATHS.every((path) => app.stdout.includes(`heard ${path}\n`)), 'all words');
    assert.deepEqual(said, ['ready']);
  });
});

test('an app that has no parent to speak to: said once, when it is more than `ready`', async (t) => {
  const port = await freePort(HOST);
  const app = startApp(fixture('speaks-up.js'), { port, env: { HOST } });
  t.after(() => app.stop());
  for (const index of [1, 2]) await app.said(new RegExp(`worker ${index} is ready`));
  await app.said(/process\.send\(\) \(a string\)[\s\S]*process\.send\(\) \(a string\)/);
  assert.doesNotMatch(app.stderr, /^fastsocket: /m);
  await answering(port, HOST);
  for (const path of PATHS) await request(port, path, HOST);
  await app.said(/^fastsocket: what workers say by process\.send\(\) \(asked\) is lost: /m);
  await app.said(/(\(asked\): the app does not listen[\s\S]*){20}/);
  assert.equal(app.stderr.match(/^fastsocket: /gm)?.length, 1);
});

describe('what nobody listens for', () => {
  const parent = (connected: boolean) => {
    const sent: unknown[] = [];
    const one: Parent = { connected, send: (message) => sent.push(message) };
    return { sent, words: new Unheard(one) };
  };

  test('goes on to the parent from those that serve', () => {
    const { sent, words } = parent(true);
    words.hear({ type: 'started' }, undefined, false);
    words.hear('ready', undefined, true);
    words.hear({ type: 'asked' }, undefined, true);
    assert.deepEqual(sent, [{ type: 'asked' }]);
    assert.equal(words.first, undefined);
  });

  test('is remembered where there is no parent, but for `ready`', () => {
    const { sent, words } = parent(false);
    words.hear('ready', undefined, false);
    assert.equal(words.first, undefined);
    words.hear({ type: 'lock' }, undefined, false);
    words.hear({ type: 'other' }, undefined, false);
    assert.equal(words.first, 'lock');
    assert.deepEqual(sent, []);
  });

  test('is said once, and not of mere words', () => {
    const lines: string[] = [];
    const words = new Unheard({ connected: false, send: () => {} }, (line) => lines.push(line));
    for (const message of ['online', 'shutdown']) words.hear(message, undefined, true);
    words.hear({ type: 'early' }, undefined, false);
    assert.deepEqual(lines, []);
    for (const type of ['lock', 'other']) words.hear({ type }, undefined, true);
    assert.equal(lines.length, 1);
    assert.match(lines.join(), /\(lock\) is lost/);
  });

  test('is how far the app is: the origin has told its parent, and without one nobody misses it', () => {
    // Ghost (core/server/notify.js)
    const states = [
      { started: true, debug: {} },
      { ready: true, debug: {} },
      { ready: false, error: {} },
    ];
    const lines: string[] = [];
    const words = new Unheard({ connected: false, send: () => {} }, (line) => lines.push(line));
    for (const state of states) for (const serves of [false, true]) words.hear(state, undefined, serves);
    assert.equal(words.first, undefined);
    assert.deepEqual(lines, []);
    const { sent, words: heard } = parent(true);
    for (const state of states) heard.hear(state, undefined, true);
    assert.deepEqual(sent, []);
    for (const other of [{ ready: 'when you are' }, { type: 'metrics', ready: true }]) {
      const said: string[] = [];
      new Unheard({ connected: false, send: () => {} }, (line) => said.push(line)).hear(
        other,
        undefined,
        true,
      );
      assert.equal(said.length, 1, JSON.stringify(other));
    }
  });

  test('is for PM2 or for Gatsby’s cloud, where there is none: nobody misses it', () => {
    const lines: string[] = [];
    const words = new Unheard({ connected: false, send: () => {} }, (line) => lines.push(line));
    for (const type of [
      'axm:monitor',
      'application:dependencies',
      'process:exception',
      'human:event',
      'profilings',
      'LOG_ACTION',
    ])
      for (const serves of [false, true]) words.hear({ type, data: {} }, undefined, serves);
    assert.equal(words.first, undefined);
    assert.deepEqual(lines, []);
    const { sent, words: heard } = parent(true);
    heard.hear({ type: 'axm:monitor' }, undefined, true);
    assert.deepEqual(sent, [{ type: 'axm:monitor' }]);
  });

  test('loses what comes with it, so that whoever is at the other end knows', () => {
    const ended: string[] = [];
    const connection = (name: string) => ({ destroy: () => ended.push(name), close: () => ended.push('no') });
    const server = (name: string) => ({ close: () => ended.push(name) });
    const none = parent(false).words;
    none.hear({ type: 'lock' }, connection('connection') as never, true);
    none.hear({ type: 'lock' }, server('server') as never, false);
    none.hear('ready', server('with ready') as never, true);
    const { sent, words } = parent(true);
    words.hear({ type: 'early' }, connection('too early') as never, false);
    assert.deepEqual(ended, ['connection', 'server', 'with ready', 'too early']);
    words.hear({ type: 'asked' }, connection('passed on') as never, true);
    assert.deepEqual(sent, [{ type: 'asked' }]);
    assert.equal(ended.length, 4, 'that one is the parent’s');
    const closed = () => {
      throw new Error('not running');
    };
    none.hear({ type: 'lock' }, { close: closed } as never, true);
  });

  test('is named by what it is about, never by what it says', () => {
    assert.equal(nameOfMessage({ topic: 'log4js:message', data: 'secret' }), 'log4js:message');
    assert.equal(nameOfMessage({ password: 'secret' }), 'an object');
    assert.equal(nameOfMessage('secret'), 'a string');
    assert.equal(nameOfMessage(null), 'null');
  });
});
