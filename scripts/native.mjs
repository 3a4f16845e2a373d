// SPDX-License-Identifier: Apache-2.0
// The addon: `build` for this machine, `prebuild` for every platform that is shipped, `check` for style.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { host, install } from './util/addons.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(root, 'native');
const sources = readdirSync(native, { recursive: true })
  .filter((name) => /\.(cc|h|gyp)$/.test(name))
  .map((name) => join(native, name));
const units = sources.filter((name) => name.endsWith('.cc'));

const FLAGS = [
  '-std=c++17',
  '-O2',
  '-fPIC',
  '-shared',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-threadsafe-statics',
  '-fvisibility=hidden',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-DNAPI_VERSION=8',
  '-DNODE_GYP_MODULE_NAME=fastsocket',
  '-DBUILDING_NODE_EXTENSION',
  '-Wl,-z,nodelete',
  '-Wl,-z,relro,-z,now',
  '-Wl,--as-needed',
  '-s',
];
/** Where musl's headers and libc.so for arm64 are: installed, or unpacked by `dpkg -x` (Debian: musl-dev:arm64, musl:arm64). */
const ARM64_MUSL = [join(root, 'build/musl-arm64'), '/'];
const ownCompiler = (arch, triple) => (process.arch === arch ? 'g++' : `${triple}-g++`);
/**
 * Platforms of the package. musl's compiler is a wrapper for C of this machine's kind, and there is none for another: the
 * sources need no C++ library, so that C's headers and library are enough.
 */
const TARGETS = [
  {
    name: 'linux-x64-glibc',
    machine: 'X86-64',
    compiler: ownCompiler('x64', 'x86_64-linux-gnu'),
    debian: 'g++-x86-64-linux-gnu',
  },
  {
    name: 'linux-arm64-glibc',
    machine: 'AArch64',
    compiler: ownCompiler('arm64', 'aarch64-linux-gnu'),
    debian: 'g++-aarch64-linux-gnu',
  },
  {
    name: 'linux-x64-musl',
    machine: 'X86-64',
    compiler: process.arch === 'x64' ? 'musl-gcc' : 'x86_64-linux-musl-gcc',
    debian: 'musl-tools',
    words: () => [
      '-x',
      'c++',
      '-nostdinc++',
      '-idirafter',
      '/usr/include',
      '-idirafter',
      '/usr/include/x86_64-linux-gnu',
    ],
  },
  {
    name: 'linux-arm64-musl',
    machine: 'AArch64',
    compiler: ownCompiler('arm64', 'aarch64-linux-gnu'),
    debian: 'g++-aarch64-linux-gnu',
    folder: () => ARM64_MUSL.find((folder) => existsSync(join(folder, 'usr/include/aarch64-linux-musl'))),
    words: (folder, compiler) => [
      '-nostdinc',
      '-nostdinc++',
      '-isystem',
      join(folder, 'usr/include/aarch64-linux-musl'),
      '-isystem',
      output(compiler, ['-print-file-name=include']).trim(),
      '-idirafter',
      '/usr/aarch64-linux-gnu/include',
      // without it libgcc's helpers want glibc's __getauxval
      '-mno-outline-atomics',
    ],
    // by file name: -lc would take libc.a where only that one is in reach
    libraries: (folder) => [
      '-nostdlib',
      `-L${join(folder, 'lib/aarch64-linux-musl')}`,
      '-l:libc.so',
      '-lgcc',
    ],
  },
];
/** The oldest glibc that the package promises to run on. */
const OLDEST_GLIBC = [2, 28];
const LIBRARIES = /^(libc\.so\.6|libc\.so|libpthread\.so\.0|ld-linux.*|libc\.musl-.*)$/;
const EXPORTS = /^(napi_register_module_v1|node_api_module_get_api_version_v1|_init|_fini)$/;

function fail(message) {
  console.error(`native: ${message}`);
  process.exit(1);
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    cwd: root,
    ...options,
  });
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

/**
 * What the binary may need: libc and nothing else, and no symbol newer than the oldest glibc promised. And what it must
 * be: kept in memory, read-only after relocation, with no names of its own in sight.
 */
function checkBinary(file, { musl = false, machine } = {}) {
  const header = output('readelf', ['-h', '-W', file]);
  if (machine && !header.includes(machine)) fail(`${file} is not for ${machine}`);
  const dynamic = output('readelf', ['-d', '-W', file]);
  const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, library]) => library);
  for (const library of needed) if (!LIBRARIES.test(library)) fail(`${file} needs ${library}`);
  if (hasFailpoints(file)) fail(`${file} has the tests' fail points`);
  if (needed.length === 0) fail(`${file} needs no library: libc is linked into it`);
  if (!/FLAGS_1.*NODELETE/.test(dynamic)) fail(`${file} is not linked -z nodelete`);
  if (!/FLAGS_1.*NOW/.test(dynamic)) fail(`${file} is not linked -z now`);
  if (!/GNU_RELRO/.test(output('readelf', ['-l', '-W', file]))) fail(`${file} is not linked -z relro`);
  const symbols = output('readelf', ['--dyn-syms', '-W', file])
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  for (const [, , , , binding, , section, name] of symbols) {
    const own = binding === 'GLOBAL' && section !== 'UND';
    if (own && !EXPORTS.test(name)) fail(`${file} exports ${name}`);
  }
  if (musl) return;
  for (const [, major, minor] of output('readelf', ['-V', '-W', file]).matchAll(/GLIBC_(\d+)\.(\d+)/g)) {
    const tooNew = Number(major) > OLDEST_GLIBC[0] || Number(minor) > OLDEST_GLIBC[1];
    if (tooNew) fail(`${file} needs GLIBC_${major}.${minor}, newer than ${OLDEST_GLIBC.join('.')}`);
  }
}

/** native/failpoint.h: its variable is a string of the binary. */
const hasFailpoints = (file) => readFileSync(file).includes('FASTSOCKET_FAILPOINTS');

/** node-gyp of this package, or the one that npm brings along. */
function nodeGyp() {
  const script = 'node_modules/node-gyp/bin/node-gyp.js';
  const own = join(root, script);
  if (existsSync(own)) return own;
  return join(output('npm', ['root', '-g']).trim(), 'npm', script);
}

/** Builds for tests: where each goes, and binding.gyp's words for it (not `asan`: Node's own config.gypi sets that, and wins). */
const TEST_BUILDS = {
  asan: { target: 'build/asan/fastsocket.node', words: ['-Dsanitize=1', '-Dfailpoints=1'] },
  failpoints: { target: 'build/failpoints/fastsocket.node', words: ['-Dfailpoints=1'] },
};

function build(kind) {
  const special = TEST_BUILDS[kind];
  const target = join(root, special?.target ?? `prebuilds/${host()}/fastsocket.node`);
  if (newer(target)) return target;
  const folder = headers();
  const nodedir = folder ? [`--nodedir=${folder}`] : [];
  const extra = special ? ['--', ...special.words] : [];
  // a copy of its own: node-gyp writes beside binding.gyp, and two builds there would tread on each other
  mkdirSync(join(root, 'build'), { recursive: true });
  const scratch = mkdtempSync(join(root, 'build/gyp-'));
  process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
  for (const source of sources) {
    const copy = join(scratch, relative(native, source));
    mkdirSync(dirname(copy), { recursive: true });
    copyFileSync(source, copy);
  }
  run(process.execPath, [nodeGyp(), 'rebuild', '--silent', ...nodedir, ...extra], { cwd: scratch });
  const made = join(scratch, 'build/Release/fastsocket.node');
  if (!special) checkBinary(made, { musl: target.includes('musl') });
  else if (!hasFailpoints(made)) fail(`${made} has no fail points`);
  else if (kind === 'asan' && !/libasan/.test(output('readelf', ['-d', made])))
    fail(`${made} is not instrumented`);
  install(made, target);
  return target;
}

function prebuild() {
  const headersFolder = headers();
  if (!headersFolder) fail('no Node headers found (npm config nodedir)');
  const scratch = join(root, 'build/prebuild');
  mkdirSync(scratch, { recursive: true });
  for (const { name, machine, compiler, debian, folder, words, libraries } of TARGETS) {
    const library = folder?.();
    const missing = !has(compiler)
      ? `no ${compiler} (Debian package ${debian})`
      : folder && !library
        ? `no libc in ${ARM64_MUSL.join(' or ')}`
        : '';
    if (missing) {
      console.error(`native: ${name} left out: ${missing}`);
      continue;
    }
    const made = join(scratch, `${name}.node`);
    run(compiler, [
      ...(words?.(library, compiler) ?? []),
      ...FLAGS,
      `-I${join(headersFolder, 'include/node')}`,
      ...units,
      '-o',
      made,
      ...(libraries?.(library) ?? []),
    ]);
    checkBinary(made, { musl: name.endsWith('musl'), machine });
    install(made, join(root, 'prebuilds', name, 'fastsocket.node'));
    console.error(`native: ${name} ${statSync(made).size} bytes`);
  }
}

function check() {
  const folder = headers();
  const files = sources.filter((name) => !name.endsWith('.gyp'));
  for (const tool of ['clang-format', 'clang-tidy']) if (!has(tool)) fail(`no ${tool}`);
  run('clang-format', ['--dry-run', '-Werror', ...files]);
  run('clang-tidy', [
    '--quiet',
    '--warnings-as-errors=*',
    ...units,
    '--',
    '-std=c++17',
    '-fno-exceptions',
    '-DNAPI_VERSION=8',
    `-I${join(folder, 'include/node')}`,
  ]);
}

const [command, flag] = process.argv.slice(2);
switch (command) {
  case 'build':
    if (flag === '--debug-asan') build('asan');
    else for (const kind of [undefined, 'failpoints']) build(kind);
    break;
  case 'prebuild':
    prebuild();
    break;
  case 'check':
    check();
    break;
  default:
    fail('usage: native.mjs build [--debug-asan] | prebuild | check');
}
