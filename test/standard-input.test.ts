// SPDX-License-Identifier: Apache-2.0
// A server with a console, as games and chat servers have one: the process that was started reads it, the others hear
// nothing, and nothing that would be the end.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { App, census, fixture, freePort, hook, multiplied, startApp, until } from './support/app';
import { exited, noneLeft, portFree } from './support/ending';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
const CTRL_D = '\x04';
const REQUESTS = 48;

const bare = new PackageWithoutAddon();
after(() => bare.remove());
const ways = { 'with the addon': ['-r', hook], ...bare.means };

const noTerminal =
  spawnSync('script', ['--version']).status === 0 ? false : 'there is no script(1) here to make a terminal';

/** The processes that have read this line. */
const readers = (text: string, line: string): number[] =>
  [...text.matchAll(/^(\d+) has read (.*?)\r?$/gm)]
    .filter(([, , read]) => read === line)
    .map(([, pid]) => Number(pid));

describe('a server that ends with its standard input', () => {
  test('plain Node', async (t) => {
    const app = startApp(fixture('console-app.js'), {
      port: await freePort(HOST),
      hook: false,
      stdin: 'pipe',
    });
    t.after(() => app.stop());
    app.child.stdin?.write('word\n');
    await until(() => readers(app.stderr, 'word').length > 0, 'the word');
    app.child.stdin?.end();
    assert.deepEqual(await exited(app), { code: 4, signal: null });
  });

  for (const [way, flags] of Object.entries(ways))
    test(`${way}: workers serve on, and end with it`, async (t) => {
      const app = startApp(fixture('console-app.js'), {
        port: await freePort(HOST),
        hook: flags,
        stdin: 'pipe',
      });
      t.after(() => app.stop());
      const workers = await multiplied(app, 2, HOST);
      assert.equal(workers.length, 2);
      await census(app.port, REQUESTS, HOST);
      assert.doesNotMatch(app.stderr, /worker \d+ ended/);
      app.child.stdin?.write('word\n');
      await until(() => readers(app.stderr, 'word').length > 0, 'the word');
      await census(app.port, REQUESTS, HOST);
      assert.deepEqual(readers(app.stderr, 'word'), [app.pid]);
      assert.deepEqual(app.workers(), workers);
      app.child.stdin?.end();
      assert.deepEqual(await exited(app), { code: 4, signal: null });
      assert.ok(await portFree(app.port));
      await noneLeft(workers);
    });

  test('in a terminal', { skip: noTerminal }, async (t) => {
    const port = await freePort(HOST);
    const command = `exec ${process.execPath} -r ${hook} ${fixture('console-app.js')}`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: {
        PATH: process.env['PATH'],
        SHELL: '/bin/sh',
        PORT: String(port),
        FASTSOCKET_WORKERS: '2',
        NODE_DEBUG: 'fastsocket',
      } as NodeJS.ProcessEnv,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const app = new App(child, port);
    t.after(() => app.stop());
    // a terminal is all that it writes to
    const said = (pattern: RegExp) =>
      until(
        () => pattern.exec(app.stdout),
        () => `${pattern}:\n${app.stdout}`,
      );
    for (const index of [1, 2]) await said(new RegExp(`worker ${index} is ready`));
    const [, named] = await said(/FASTSOCKET (\d+): listener group/);
    const pids = [...(await census(port, REQUESTS, HOST)).keys()];
    assert.equal(pids.length, 2);
    assert.doesNotMatch(app.stdout, /worker \d+ ended/);
    child.stdin?.write('word\n');
    await until(
      () => readers(app.stdout, 'word').length > 0,
      () => `the word:\n${app.stdout}`,
    );
    assert.deepEqual(readers(app.stdout, 'word'), [Number(named)]);
    child.stdin?.write(CTRL_D);
    assert.deepEqual(await exited(app), { code: 4, signal: null });
    await noneLeft(pids);
    assert.ok(await portFree(port));
  });

  test('where it is /dev/null the copies fare as the first process: it ends', async (t) => {
    const outcomes = [];
    for (const flags of [false, ['-r', hook]]) {
      const app = startApp(fixture('console-app.js'), { port: await freePort(HOST), hook: flags });
      t.after(() => app.stop());
      outcomes.push(await app.ended);
    }
    assert.deepEqual(outcomes[1], outcomes[0]);
  });
});
