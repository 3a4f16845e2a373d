// SPDX-License-Identifier: Apache-2.0
// Test runners with the hook in NODE_OPTIONS: a server that a test opens is the test's own, and no run is copied.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { freePort, hook, root, startApp } from './support/app';
import { temporaryFolder } from './support/temporary';

const PACKAGES = ['jest', 'supertest', 'vitest'];

/** Longer than a listener has to live before an app is copied. */
const OPEN_MS = 400;

const TESTS = `
const app = (_request, response) => response.end('hello');
const listen = (port) => new Promise((resolve) => {
  const server = http.createServer(app).listen(port, '127.0.0.1', () => resolve(server));
});
test('a port of the kernel, by supertest', () => request(app).get('/').expect(200, 'hello'));
test('a fixed port', async () => {
  const server = await listen(Number(process.env.PORT) + FILE);
  await request(server).get('/').expect(200, 'hello');
  await new Promise((resolve) => setTimeout(resolve, ${OPEN_MS}));
  await request(server).get('/').expect(200, 'hello');
  await new Promise((resolve) => server.close(resolve));
});
test('in quick turn', async () => {
  for (let i = 0; i < 20; i++) {
    const server = await listen(Number(process.env.PORT) + FILE);
    await request(server).get('/').expect(200, 'hello');
    await new Promise((resolve) => server.close(resolve));
  }
});
if (FILE === 2) test('fails', () => expect(1).toBe(2));
`;

/** A server of the run, not of a test. */
const SETUP = `
const http = require('node:http');
module.exports = async () => {
  globalThis.server = http.createServer().listen(Number(process.env.PORT), '127.0.0.1');
  await new Promise((resolve) => setTimeout(resolve, ${OPEN_MS}));
};
`;
const TEARDOWN = 'module.exports = () => new Promise((resolve) => globalThis.server.close(resolve));\n';

const folder = temporaryFolder('runners');

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text);
}

/** A project with the same tests for both runners. */
function makeProject(): void {
  mkdirSync(join(folder, 'node_modules'));
  for (const name of PACKAGES)
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  write('setup.js', SETUP);
  write('teardown.js', TEARDOWN);
  const jest = {
    transform: {},
    testMatch: ['**/*.jest.js'],
    globalSetup: './setup.js',
    globalTeardown: './teardown.js',
  };
  write('package.json', JSON.stringify({ name: 'project', jest }));
  write(
    'vitest.config.mjs',
    `export default { cacheDir: '.vite', test: { globals: true, include: ['*.vitest.mjs'], testTimeout: 20_000, globalSetup: './setup.mjs' } };\n`,
  );
  write(
    'setup.mjs',
    `import setup from './setup.js';\nimport teardown from './teardown.js';\nexport { setup, teardown };\n`,
  );
  for (const file of [1, 2]) {
    const body = TESTS.replaceAll('FILE', String(file));
    write(
      `${file}.jest.js`,
      `const http = require('node:http');\nconst request = require('supertest');\njest.setTimeout(20_000);\n${body}`,
    );
    write(`${file}.vitest.mjs`, `import http from 'node:http';\nimport request from 'supertest';\n${body}`);
  }
}
makeProject();

/** A fixed port, and a line for each time that it is run. */
const FILE = `
const http = require('node:http');
console.log('ok - it is run');
const server = http.createServer().listen(Number(process.env.PORT), '127.0.0.1');
setTimeout(() => server.close(), ${OPEN_MS});
`;
write('plain.js', FILE);
write(
  'node-test.mjs',
  `import { createRequire } from 'node:module';
import test from 'node:test';
const require = createRequire(import.meta.url);
test('a fixed port', (t, done) => {
  ${FILE}
  server.on('close', done);
});
`,
);
write(
  'globals.js',
  `globalThis.describe = globalThis.it = (name, f) => f();\ndescribe('', () => {${FILE}});\n`,
);
mkdirSync(join(folder, 'node_modules/tape'));
write('node_modules/tape/index.js', '');
write('tape.js', `require('tape');\n${FILE}`);
// as tap does
write(
  'runner.js',
  `require('node:child_process').spawnSync(process.execPath, ['plain.js'],
  { stdio: 'inherit', env: { ...process.env, TAP: '1' } });\n`,
);

/** What is said, each line once: times and the order of files differ from run to run. */
const lines = (text: string): string[] => [
  ...new Set(
    text
      .replace(/^.*FASTSOCKET .*\n/gm, '')
      .replaceAll(/ *\(?\d+(\.\d+)? ?m?s\b\)?(, estimated.*)?/g, '')
      .replaceAll(/\d+:\d+:\d+/g, 'TIME')
      .replaceAll(/duration_ms:? [\d.]+/g, 'duration_ms')
      .replaceAll(/\(node:\d+\)/g, '(node)')
      .split('\n')
      .map((line) => line.trimEnd())
      .filter(Boolean)
      .sort(),
  ),
];

async function run(t: TestContext, script: string, args: string[], hooked: boolean) {
  const app = startApp(resolve(root, 'node_modules', script), {
    port: await freePort(),
    hook: false,
    args,
    cwd: folder,
    env: { NODE_OPTIONS: hooked ? `-r ${hook}` : '', FASTSOCKET_WORKERS: '2', CI: '1', NO_COLOR: '1' },
  });
  t.after(() => app.stop());
  const ended = await app.ended;
  assert.equal(app.stderr.includes('FASTSOCKET'), hooked, 'the hook is there, or not');
  if (hooked) assert.match(app.stderr, /a test run \(FASTSOCKET_WORKERS does not change that\)/);
  assert.doesNotMatch(app.stderr, /a first copy is started|listener group/);
  return { ended, stdout: lines(app.stdout), stderr: lines(app.stderr) };
}

const RUNS: [name: string, script: string, args: string[]][] = [
  [
    'jest, in one process, looking for open handles',
    'jest/bin/jest.js',
    ['--runInBand', '--detectOpenHandles'],
  ],
  ['jest, in worker processes', 'jest/bin/jest.js', ['--maxWorkers=2']],
  ['vitest, in worker processes', 'vitest/vitest.mjs', ['run', '--pool=forks']],
  ['vitest, in worker threads', 'vitest/vitest.mjs', ['run', '--pool=threads']],
];

describe('a test run is what it is without the hook', () => {
  for (const [name, script, args] of RUNS) {
    test(name, async (t) => {
      const plain = await run(t, script, args, false);
      assert.deepEqual(plain.ended, { code: 1, signal: null });
      assert.deepEqual(await run(t, script, args, true), plain);
    });
  }
});

describe('a test file that is run by itself', () => {
  for (const [name, file] of [
    ['by node:test', 'node-test.mjs'],
    ['under describe() and it()', 'globals.js'],
    ['by a framework that it requires', 'tape.js'],
    ['by a runner that says so in its environment', 'runner.js'],
  ] as const) {
    test(name, async (t) => {
      const plain = await run(t, join(folder, file), [], false);
      assert.deepEqual(plain.ended, { code: 0, signal: null });
      assert.deepEqual(await run(t, join(folder, file), [], true), plain);
    });
  }
});
