// SPDX-License-Identifier: Apache-2.0
// Packs the package, installs the tarball in an empty folder and runs a server there with the hook.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from './util/files.mjs';
import { root, run, runQuietly } from './util/shell.mjs';
import { cleanEnvironment } from './util/test-run.mjs';

/** All that may be in the tarball. */
const ALLOWED =
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE|dist\/[\w./-]+|prebuilds\/[\w-]+\/fastsocket\.node|native\/(balance\/|seam\/)?[\w-]+\.(cc|h)|native\/binding\.gyp|(bench|lib)\/README\.md)$/;
const NEEDED = [
  'LICENSE',
  'README.md',
  'bench/README.md',
  'lib/README.md',
  'native/binding.gyp',
  'prebuilds/linux-x64-glibc/fastsocket.node',
  ...['register.cjs', 'register.mjs', 'core.cjs', 'index.cjs', 'index.mjs'].map((name) => `dist/${name}`),
  ...['index.d.ts', 'index.d.mts'].map((name) => `dist/types/${name}`),
];
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'];
const API = ['active', 'core', 'destinations', 'reason', 'workers'];

const SERVER = `
require('node:http').createServer((request, response) => {
  response.setHeader('connection', 'close');
  response.end(String(process.pid));
}).listen(Number(process.argv[2]), '127.0.0.1');
`;
const USES_REQUIRE = `
const api = require('fastsocket');
console.log(JSON.stringify([Object.keys(api).sort(), api.active(), api.workers(), typeof api.reason()]));
`;
const USES_IMPORT = `
import * as api from 'fastsocket';
import { active, workers, reason } from 'fastsocket';
const names = Object.keys(api).filter((name) => name !== 'default').sort();
console.log(JSON.stringify([names, active(), workers(), typeof reason()]));
`;

function step(text) {
  console.log(`== ${text}`);
}

function pack(folder) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  // npm 12 prints an object keyed by package name where earlier ones print a list.
  const [packed] = Object.values(JSON.parse(runQuietly('npm', args)));
  return {
    tarball: join(folder, packed.filename),
    files: packed.files.map(({ path }) => path),
    size: packed.size,
  };
}

function checkFiles(files) {
  const strange = files.filter((path) => !ALLOWED.test(path));
  assert.deepEqual(strange, [], 'files that do not belong in the tarball');
  const missing = NEEDED.filter((path) => !files.includes(path));
  assert.deepEqual(missing, [], 'files missing from the tarball');
}

/** native/failpoint.h is for tests. */
function checkAddons(installed, files) {
  const strange = files
    .filter((path) => path.endsWith('.node'))
    .filter((path) => readFileSync(join(installed, path)).includes('FASTSOCKET_FAILPOINTS'));
  assert.deepEqual(strange, [], 'addons with fail points');
}

function checkManifest(manifest) {
  const scripts = INSTALL_SCRIPTS.filter((name) => manifest.scripts?.[name] !== undefined);
  assert.deepEqual(scripts, [], 'install scripts');
  assert.equal(manifest.gypfile, undefined, 'gypfile makes npm compile');
  assert.equal(manifest.dependencies, undefined, 'run-time dependencies');
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function pidAt(port) {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    return Number(await response.text());
  } catch {
    return undefined;
  }
}

/** Starts the server with these options of node and waits until two workers have answered, neither of them the origin. */
async function checkServing(app, options) {
  const port = await freePort();
  const env = { ...cleanEnvironment(), FASTSOCKET_WORKERS: '2' };
  const origin = spawn(process.execPath, [...options, 'server.cjs', String(port)], {
    cwd: app,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = new Promise((resolve) => {
    origin.once('exit', resolve);
  });
  try {
    const seen = new Set();
    for (const deadline = Date.now() + 30_000; seen.size < 2; await sleep(10)) {
      assert.ok(Date.now() < deadline, `two workers should answer; seen: ${[...seen].join(', ') || 'none'}`);
      assert.equal(origin.exitCode, null, 'the server has ended');
      const pid = await pidAt(port);
      if (pid !== undefined && pid !== origin.pid) seen.add(pid);
    }
    console.log(
      `  node ${options.join(' ')}: workers ${[...seen].join(' and ')} answered, origin ${origin.pid}`,
    );
  } finally {
    origin.kill('SIGTERM');
    await ended;
  }
}

function checkApi(app) {
  const expected = JSON.stringify([API, false, 0, 'string']);
  for (const file of ['uses-require.cjs', 'uses-import.mjs']) {
    const printed = runQuietly(process.execPath, [file], { cwd: app, env: cleanEnvironment() }).trim();
    assert.equal(printed, expected, `${file} without the hook`);
  }
  // The API answers from what the preload has noted, whichever of the two module systems asks.
  const withHook = ['-r', 'fastsocket/register'];
  for (const file of ['uses-require.cjs', 'uses-import.mjs']) {
    const printed = runQuietly(process.execPath, [...withHook, file], {
      cwd: app,
      env: cleanEnvironment(),
    }).trim();
    assert.equal(printed, JSON.stringify([API, false, 0, 'undefined']), `${file} with the hook`);
  }
}

const folder = temporaryFolder();
try {
  step('npm pack');
  const { tarball, files, size } = pack(folder);
  console.log(`  ${files.length} files, ${Math.ceil(size / 1024)} KiB`);
  checkFiles(files);

  step('install in an empty folder');
  const app = join(folder, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{"private":true}\n');
  runQuietly('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', tarball], { cwd: app });
  const manifest = JSON.parse(
    runQuietly(process.execPath, ['-p', "JSON.stringify(require('fastsocket/package.json'))"], { cwd: app }),
  );
  checkManifest(manifest);
  checkAddons(join(app, 'node_modules/fastsocket'), files);

  step('the API');
  writeFileSync(join(app, 'uses-require.cjs'), USES_REQUIRE);
  writeFileSync(join(app, 'uses-import.mjs'), USES_IMPORT);
  checkApi(app);

  step('two workers');
  writeFileSync(join(app, 'server.cjs'), SERVER);
  await checkServing(app, ['-r', 'fastsocket/register']);
  await checkServing(app, ['--import', 'fastsocket/register']);

  step('publint');
  assert.equal(
    run(process.execPath, [join(root, 'node_modules/publint/src/cli.js'), tarball, '--strict']),
    0,
    'publint',
  );
  step('are the types wrong');
  const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  assert.equal(
    run(process.execPath, [attw, tarball, '--no-emoji', '--format', 'ascii', '--profile', 'node16']),
    0,
    'attw',
  );
  console.log('the package installs and works');
} catch (error) {
  console.log(`FAILED: ${error.message}`);
  process.exitCode = 1;
}
