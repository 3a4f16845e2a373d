// SPDX-License-Identifier: Apache-2.0
// The addon: `build` for this machine, `prebuild` for every platform that is shipped, `check` for style, `asan-test` for
// its tests under the sanitizers.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(root, 'native');
const sources = readdirSync(native).filter((name) => /\.(cc|h|gyp)$/.test(name)).map((name) => join(native, name));
const units = sources.filter((name) => name.endsWith('.cc'));

const FLAGS = [
  '-std=c++17', '-O2', '-fPIC', '-shared', '-fno-exceptions', '-fno-rtti', '-fno-threadsafe-statics',
  '-fvisibility=hidden', '-Wall', '-Wextra', '-Werror', '-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=fastsocket',
  '-DBUILDING_NODE_EXTENSION', '-Wl,-z,nodelete', '-Wl,-z,relro,-z,now', '-Wl,--as-needed', '-s',
];
/** Platforms of the package. musl's compiler is a wrapper for C: the sources need no C++ library, so it serves. */
const TARGETS = [
  { name: 'linux-x64-glibc', compiler: ['g++'], arch: 'x64', debian: 'g++' },
  { name: 'linux-arm64-glibc', compiler: ['aarch64-linux-gnu-g++'], arch: 'arm64', debian: 'g++-aarch64-linux-gnu' },
  { name: 'linux-x64-musl', compiler: ['musl-gcc', '-x', 'c++', '-nostdinc++', '-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu'], arch: 'x64', debian: 'musl-tools' },
];
/** The oldest glibc that the package promises to run on. */
const OLDEST_GLIBC = [2, 28];
const LIBRARIES = /^(libc\.so\.6|libc\.so|libpthread\.so\.0|libdl\.so\.2|ld-linux.*|libc\.musl-.*)$/;

function fail(message) {
  console.error(`native: ${message}`);
  process.exit(1);
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], cwd: root, ...options });
  if (error) fail(`${command}: ${error.message}`);
  if (status !== 0) fail(`${command} ended with status ${status}`);
}

const has = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
const output = (command, args) => execFileSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });

/** Folder with node_api.h and uv.h: npm's nodedir, or beside the node that runs. */
function headers() {
  const configured = spawnSync('npm', ['config', 'get', 'nodedir'], { encoding: 'utf8' }).stdout?.trim();
  for (const folder of [configured, dirname(dirname(process.execPath))]) {
    if (folder && existsSync(join(folder, 'include/node/node_api.h'))) return folder;
  }
  return undefined;
}

function newer(result) {
  if (!existsSync(result)) return false;
  const made = statSync(result).mtimeMs;
  return sources.every((source) => statSync(source).mtimeMs < made);
}

function host() {
  const musl = !process.report?.getReport?.().header.glibcVersionRuntime;
  return `linux-${process.arch}-${musl ? 'musl' : 'glibc'}`;
}

/** What the binary may need: only libc, and no symbol newer than the oldest glibc promised. */
function checkSymbols(file, { musl = false, readelf = 'readelf' } = {}) {
  const dynamic = output(readelf, ['-d', '-W', file]);
  for (const [, library] of dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)) {
    if (!LIBRARIES.test(library)) fail(`${file} needs ${library}`);
  }
  if (!/FLAGS_1.*NODELETE/.test(dynamic)) fail(`${file} is not linked -z nodelete`);
  if (musl) return;
  for (const [, major, minor] of output(readelf, ['-V', '-W', file]).matchAll(/GLIBC_(\d+)\.(\d+)/g)) {
    const tooNew = Number(major) > OLDEST_GLIBC[0] || Number(minor) > OLDEST_GLIBC[1];
    if (tooNew) fail(`${file} needs GLIBC_${major}.${minor}, newer than ${OLDEST_GLIBC.join('.')}`);
  }
}

function gyp(target, extra = []) {
  const folder = headers();
  const nodeGyp = join(root, 'node_modules/node-gyp/bin/node-gyp.js');
  const nodedir = folder ? [`--nodedir=${folder}`] : [];
  run(process.execPath, [nodeGyp, 'rebuild', '--silent', ...nodedir, ...extra], { cwd: native });
  mkdirSync(dirname(target), { recursive: true });
  // a running program may have the old file mapped: a new inode, not new contents
  rmSync(target, { force: true });
  copyFileSync(join(native, 'build/Release/fastsocket.node'), target);
}

function build(debugAsan) {
  const target = debugAsan ? join(root, 'build/asan/fastsocket.node') : join(root, 'prebuilds', host(), 'fastsocket.node');
  if (newer(target)) return target;
  gyp(target, debugAsan ? ['--', '-Dasan=1'] : []);
  if (!debugAsan) checkSymbols(target, { musl: target.includes('musl') });
  return target;
}

function prebuild() {
  const folder = headers();
  if (!folder) fail('no Node headers found (npm config nodedir)');
  for (const { name, compiler, debian } of TARGETS) {
    if (!has(compiler[0])) {
      console.error(`native: ${name} left out: no ${compiler[0]} (Debian package ${debian})`);
      continue;
    }
    const file = join(root, 'prebuilds', name, 'fastsocket.node');
    mkdirSync(dirname(file), { recursive: true });
    rmSync(file, { force: true });
    const [command, ...words] = compiler;
    run(command, [...words, ...FLAGS, `-I${join(folder, 'include/node')}`, ...units, '-o', file]);
    checkSymbols(file, { musl: name.endsWith('musl') });
    console.error(`native: ${name} ${statSync(file).size} bytes`);
  }
}

function check() {
  const folder = headers();
  const files = sources.filter((name) => !name.endsWith('.gyp'));
  for (const tool of ['clang-format', 'clang-tidy']) if (!has(tool)) fail(`no ${tool}`);
  run('clang-format', ['--dry-run', '-Werror', ...files]);
  run('clang-tidy', ['--quiet', '--warnings-as-errors=*', ...units, '--', '-std=c++17', '-fno-exceptions', '-DNAPI_VERSION=8', `-I${join(folder, 'include/node')}`]);
}

/** The addon's own tests with the sanitizers in a stock Node: their run-time library comes first by LD_PRELOAD. */
function asanTest() {
  const asan = build(true);
  const library = output('g++', ['-print-file-name=libasan.so']).trim();
  const ubsan = output('g++', ['-print-file-name=libubsan.so']).trim();
  const tests = readdirSync(join(root, 'build/test')).filter((name) => /^addon-.*\.test\.js$/.test(name));
  if (tests.length === 0) fail('no addon tests in build/test: run the build first');
  for (const test of tests) {
    run(process.execPath, [join(root, 'build/test', test)], {
      env: {
        ...process.env,
        LD_PRELOAD: `${library}:${ubsan}`,
        FASTSOCKET_TEST_ADDON: asan,
        // Node itself never frees some of its memory at exit
        ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
        UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
      },
    });
  }
}

const [command, flag] = process.argv.slice(2);
switch (command) {
  case 'build':
    build(flag === '--debug-asan');
    break;
  case 'prebuild':
    prebuild();
    break;
  case 'check':
    check();
    break;
  case 'asan-test':
    asanTest();
    break;
  default:
    fail('usage: native.mjs build [--debug-asan] | prebuild | check | asan-test');
}
