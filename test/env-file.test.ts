// SPDX-License-Identifier: Apache-2.0
// Settings in a file of --env-file, which no process has been started with (proc(5), /proc/pid/environ): they count.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fixture, freePort, hook, multiplied, startApp } from './support/app';
import { temporaryFolder } from './support/temporary';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const skip = major === 20 && minor < 6 && 'there is no --env-file before Node 20.6';

function flag(...lines: string[]): string {
  const folder = temporaryFolder('env');
  const file = join(folder, 'env');
  writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  return `--env-file=${file}`;
}

/** What stands in the environment counts before the file (node --env-file). */
const UNSET = ['env', '-u', 'FASTSOCKET_WORKERS'];

test('of an app that is multiplied', { skip }, async (t) => {
  const app = startApp(fixture('http-app.js'), {
    port: await freePort(),
    prefix: UNSET,
    execArgv: [flag('FASTSOCKET_WORKERS=3', 'FASTSOCKET_SEAM=batch')],
  });
  t.after(() => app.stop());
  const workers = await multiplied(app, 3);
  assert.equal(workers.length, 3);
  for (const pid of [app.pid, ...workers]) await app.said(new RegExp(`${pid}: seam: batch(, connect)?\n`));
});

test('of one that is not, and of its clients', { skip }, async (t) => {
  const app = startApp(fixture('stops-app.js'), {
    port: 0,
    execArgv: [flag('FASTSOCKET_SEAM=nodelay', 'FASTSOCKET_CONNECT=off')],
    env: { END: 'close', AFTER: '500', WHO: 'origin' },
  });
  t.after(() => app.stop());
  await app.said(/: seam: nodelay\n/);
  assert.deepEqual(await app.ended, { code: 0, signal: null });
});

test('of a server in a worker thread', { skip }, async (t) => {
  const port = await freePort();
  const app = startApp(fixture('threads-listen.js'), {
    port,
    execArgv: [flag('FASTSOCKET_SEAM=batch', 'FASTSOCKET_CONNECT=off')],
    env: { HOST: '127.0.0.1', MODE: 'the thread alone', PORTS: `${port}` },
  });
  t.after(() => app.stop());
  await app.said(/: seam: batch\n/);
});

test('nothing but settings is kept where the whole program can read it', () => {
  const program = "console.log(JSON.stringify(process[Symbol.for('fastsocket.state')]))";
  const pm2 = JSON.stringify({ SECRET: 'x', FASTSOCKET_PIN: 'off' });
  const env = { SECRET: 'x', FASTSOCKET_SEAM: 'batch', WEB_CONCURRENCY: '3', pm2_env: pm2 };
  const { stdout } = spawnSync(process.execPath, ['-r', hook, '-e', program], { env, encoding: 'utf8' });
  assert.deepEqual(JSON.parse(stdout).settings, {
    FASTSOCKET_SEAM: 'batch',
    WEB_CONCURRENCY: '3',
    FASTSOCKET_PIN: 'off',
  });
  assert.doesNotMatch(stdout, /SECRET/);
});
