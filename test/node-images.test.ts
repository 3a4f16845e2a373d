// SPDX-License-Identifier: Apache-2.0
// Single executables and start-up snapshots, made and run with the hook in NODE_OPTIONS: as without it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type App, answering, census, fixture, freePort, hook, multiplied, until } from './support/app';
import { spawnImage } from './support/image';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
const folder = temporaryFolder('image');

const WITH = { NODE_OPTIONS: `-r ${hook}` };

interface Outcome {
  said: string[];
  code: number | null;
  stderr: string;
}

/** What the process that was started has said, without its pid. */
const said = ({ stdout, pid }: App): string[] =>
  stdout.split('\n').flatMap((line) => (line.startsWith(`${pid} `) ? [line.slice(`${pid} `.length)] : []));

/** Runs an image until it serves, does that, and is told to end. */
async function run(
  t: TestContext,
  words: string[],
  env: Record<string, string>,
  meanwhile: (app: App) => Promise<void> = async () => {},
): Promise<Outcome> {
  const app = spawnImage(words, await freePort(HOST), { HOST, ...env });
  t.after(() => app.stop());
  await until(
    () => said(app).includes('listening'),
    () => `it to listen:\n${app.stdout}${app.stderr}`,
  );
  await answering(app.port, HOST);
  await meanwhile(app);
  const { code } = await app.stop('SIGTERM');
  return { said: said(app), code, stderr: app.stderr.replace(/^FASTSOCKET .*\n/gm, '') };
}

describe('a snapshot', () => {
  const build = (name: string, env: Record<string, string>) => {
    const blob = join(folder, name);
    const words = ['--snapshot-blob', blob, '--build-snapshot', fixture('image-app.js')];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], SNAPSHOT: '1', ...env },
    });
    return { outcome: { status, stdout, stderr }, blob };
  };

  test('is built as without the hook', () => {
    const plain = build('plain.blob', {});
    assert.equal(plain.outcome.status, 0, plain.outcome.stderr);
    assert.deepEqual(build('hooked.blob', WITH).outcome, plain.outcome);
  });

  for (const words of [[], ['one', 'two']]) {
    test(`runs as without the hook, with ${words.length} arguments`, async (t) => {
      const { blob } = build(`run-${words.length}.blob`, WITH);
      const command = [process.execPath, '--snapshot-blob', blob, ...words];
      const plain = await run(t, command, {});
      assert.equal(plain.code, 7);
      const hooked = await run(t, command, WITH, async (app) => {
        if (words.length > 0) assert.equal((await multiplied(app, 2, HOST)).length, 2);
      });
      assert.deepEqual(hooked, plain);
    });
  }
});

const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
type Inject = (file: string, name: string, data: Buffer, options: { sentinelFuse: string }) => Promise<void>;

/** An image of this Node, as its documentation says: Node 25.5 and later build one by themselves, others with postject. */
async function singleExecutable(): Promise<string> {
  const image = join(folder, 'image-app');
  const file = (name: string, output: string) => {
    const config = join(folder, name);
    const words = { main: fixture('image-app.js'), output, disableExperimentalSEAWarning: true };
    writeFileSync(config, JSON.stringify(words));
    return config;
  };
  spawnSync(process.execPath, ['--build-sea', file('image.json', image)]);
  if (existsSync(image)) return image;
  const blob = join(folder, 'blob');
  spawnSync(process.execPath, ['--experimental-sea-config', file('blob.json', blob)]);
  copyFileSync(process.execPath, image);
  chmodSync(image, 0o755);
  const { inject } = require('postject') as { inject: Inject };
  await inject(image, 'NODE_SEA_BLOB', readFileSync(blob), { sentinelFuse: FUSE });
  return image;
}

describe('a single executable', () => {
  test('runs as without the hook, as one process', async (t) => {
    const command = [await singleExecutable(), 'one', 'two'];
    const plain = await run(t, command, {});
    assert.deepEqual([plain.code, plain.said[0]], [7, '["one","two"] []']);
    const hooked = await run(t, command, WITH, async (app) => {
      await app.said(/one process: a single executable application/);
      assert.deepEqual([...(await census(app.port, 8, HOST)).keys()], [app.pid]);
      assert.deepEqual(app.workers(), []);
    });
    assert.deepEqual(hooked, plain);
  });
});
