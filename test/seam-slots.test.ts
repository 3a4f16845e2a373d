// SPDX-License-Identifier: Apache-2.0
// Slots of every kind of program, libc and processor that is within reach: a small program that calls libc as libuv does
// (test/native/slots-host.cc) has its calls taken over. Compilers that are not installed are left out with a reason.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { root } from './support/app';

const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

interface Platform {
  name: string;
  compiler: string;
  /** Words before the files, and after them. */
  words?: string[];
  libraries?: string[];
  /** What runs a program of another processor, and where it finds its libraries. */
  emulator?: string[];
  /** What such a program says; `replaced` otherwise. */
  refusals?: Record<string, string>;
}

const COMMON = [
  '-std=c++17',
  '-O1',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-threadsafe-statics',
];
const MUSL = ['-nostdinc++', '-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu'];
const ARM_ROOT = '/usr/aarch64-linux-gnu';

const PLATFORMS: Platform[] = [
  { name: 'glibc', compiler: 'g++', libraries: ['-ldl'] },
  {
    name: 'musl',
    compiler: 'musl-gcc',
    words: MUSL,
    // musl's RTLD_NEXT looks behind the addon, where there is nothing, and RTLD_DEFAULT finds the program's own entry
    refusals: { 'not PIE, address taken': 'somebody else has taken the place of a function: accept4' },
  },
  {
    name: 'glibc on arm64',
    compiler: 'aarch64-linux-gnu-g++',
    libraries: ['-ldl'],
    emulator: ['qemu-aarch64-static', '-L', ARM_ROOT],
  },
];

interface Variant {
  name: string;
  compile: string[];
  link: string[];
}

const PIE = { compile: ['-fPIE'], link: ['-pie'] };
const NOT_PIE = { compile: ['-fno-pie'], link: ['-no-pie'] };
const LAZY = '-Wl,-z,lazy';
const SEALED = '-Wl,-z,now,-z,relro';
const variant = (name: string, kind: typeof PIE, link: string, compile: string[] = []): Variant => ({
  name,
  compile: [...kind.compile, ...compile],
  link: [...kind.link, link],
});
const VARIANTS = [
  variant('PIE, bound lazily', PIE, LAZY),
  variant('PIE, sealed', PIE, SEALED),
  variant('PIE, without a procedure linkage table', PIE, SEALED, ['-fno-plt']),
  variant('PIE, address taken', PIE, LAZY, ['-DADDRESS']),
  variant('not PIE, bound lazily', NOT_PIE, LAZY),
  variant('not PIE, sealed', NOT_PIE, SEALED),
  variant('not PIE, never sealed', NOT_PIE, '-Wl,-z,norelro'),
  variant('not PIE, address taken', NOT_PIE, LAZY, ['-DADDRESS']),
];

const folder = join(root, 'build', 'native', 'slots');
const file = (...words: string[]): string =>
  join(folder, `slots-${words.join('-').replaceAll(/[^\w]+/g, '-')}`);
const made = new Map<string, Promise<string>>();
const run = promisify(execFile);

/** Makes a file once; two things that need it wait for the same. */
function make(target: string, compiler: string, words: string[]): Promise<string> {
  let promise = made.get(target);
  if (!promise) {
    mkdirSync(folder, { recursive: true });
    promise = run(compiler, [...words, '-o', target], { cwd: root }).then(() => target);
    made.set(target, promise);
  }
  return promise;
}

const compile = (
  { name, compiler, words = [] }: Platform,
  source: string,
  flags: string[],
): Promise<string> =>
  make(`${file(name, source, ...flags)}.o`, compiler, [
    '-x',
    'c++',
    ...words,
    ...COMMON,
    ...flags,
    '-c',
    source,
  ]);

const HOST = 'test/native/slots-host.cc';
const UV = 'test/native/slots-uv.cc';
const ADDON = ['test/native/slots-addon.cc', 'native/seam/slots.cc'];
const SHARED = ['-fPIC', '-fvisibility=hidden'];

async function link(platform: Platform, target: string, objects: string[], words: string[]): Promise<string> {
  return make(target, platform.compiler, [...objects, ...words, ...(platform.libraries ?? [])]);
}

async function addonOf(platform: Platform): Promise<string> {
  const objects = await Promise.all(ADDON.map((source) => compile(platform, source, SHARED)));
  return link(platform, `${file(platform.name, 'addon')}.so`, objects, ['-shared']);
}

function says(
  platform: Platform,
  program: string,
  words: string[],
  env: Record<string, string> = {},
): string {
  const [command, ...before] = [...(platform.emulator ?? []), program];
  const { status, stdout, stderr } = spawnSync(command as string, [...before, ...words], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  assert.equal(status, 0, stdout + stderr);
  return stdout.trim();
}

for (const platform of PLATFORMS) {
  const { name, compiler, emulator = [], refusals = {} } = platform;
  const absent = [compiler, ...emulator.slice(0, 1)].filter((command) => !has(command));
  const skip = absent.length > 0 ? `there is no ${absent.join(' and no ')}` : false;
  describe(name, { skip }, () => {
    for (const { name: kind, compile: flags, link: words } of VARIANTS) {
      const expected = refusals[kind] ?? 'replaced';
      test(`${kind}: ${expected}`, async () => {
        const objects = await Promise.all([HOST, UV].map((source) => compile(platform, source, flags)));
        const program = await link(platform, file(name, kind), objects, words);
        const addon = await addonOf(platform);
        assert.equal(says(platform, program, [addon]), expected);
        assert.equal(says(platform, program, [addon], { CALLED: '1' }), expected, 'after a first call');
      });
    }

    test('a shared libuv', async () => {
      const [host, uv] = await Promise.all([
        compile(platform, HOST, PIE.compile),
        compile(platform, UV, ['-fPIC']),
      ]);
      const library = await link(platform, `${file(name, 'uv')}.so`, [uv], ['-shared', LAZY]);
      const program = await link(
        platform,
        file(name, 'with a library'),
        [host, library],
        ['-pie', `-Wl,-rpath,${folder}`],
      );
      assert.equal(says(platform, program, [await addonOf(platform)]), 'replaced');
    });
  });
}

describe('what is not replaced, or not as it was', { skip: has('g++') ? false : 'there is no g++' }, () => {
  const glibc = PLATFORMS[0] as Platform;

  test('a library that came before libc (LD_PRELOAD) goes on being called', async () => {
    const before = await compile(glibc, 'test/native/slots-before.cc', ['-fPIC']);
    const library = await link(glibc, `${file('before')}.so`, [before], ['-shared']);
    for (const kind of [PIE, NOT_PIE]) {
      const objects = await Promise.all([HOST, UV].map((source) => compile(glibc, source, kind.compile)));
      const program = await link(glibc, file('preloaded', ...kind.link), objects, kind.link);
      assert.equal(says(glibc, program, [await addonOf(glibc)], { LD_PRELOAD: library }), 'replaced');
    }
  });

  test('a static program is refused by name', {
    skip: has('objcopy') ? false : 'there is no objcopy',
  }, async (t) => {
    // old_glibc.h asks for a version of dlsym, and an archive has no versions
    const slots = await compile(glibc, 'native/seam/slots.cc', ['-fPIE', '-DFOR_A_STATIC_PROGRAM']);
    const version = process.arch === 'arm64' ? 'GLIBC_2.17' : 'GLIBC_2.2.5';
    const { stderr } = spawnSync('objcopy', ['--redefine-sym', `dlsym@${version}=dlsym`, slots], {
      encoding: 'utf8',
    });
    assert.equal(stderr, '');
    if (!existsSync(spawnSync('g++', ['-print-file-name=libc.a'], { encoding: 'utf8' }).stdout.trim()))
      return t.skip('there is no static libc');
    const sources = [HOST, UV, ADDON[0] as string];
    const objects = await Promise.all(sources.map((source) => compile(glibc, source, ['-fPIE', '-DSTATIC'])));
    const program = await link(glibc, file('static'), [...objects, slots], ['-static']);
    assert.equal(says(glibc, program, []), 'the object that holds libuv has no dynamic section:');
    const pie = await link(glibc, file('static-pie'), [...objects, slots], ['-static-pie']);
    assert.equal(says(glibc, pie, []), 'a function is not called through a slot: epoll_pwait');
  });
});
