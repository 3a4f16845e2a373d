// SPDX-License-Identifier: Apache-2.0
// Builds dist/ (what is published), build/ (what tests and benchmarks run) and, by native.mjs, the addon.
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { build, transform } from 'esbuild';
import { copyIfChanged, filesBelow, removeOthers, temporaryFolder, writeIfChanged } from './util/files.mjs';
import { mapLimited, root, runCollected } from './util/shell.mjs';

const SPDX = '// SPDX-License-Identifier: Apache-2.0';
const TARGET = 'node20';
const dist = join(root, 'dist');
const tree = join(root, 'build');

/** Folders that are transpiled file by file, with everything in them that is not TypeScript copied as it is. */
const TREE_FOLDERS = ['lib', 'register', 'test', 'bench'];

/**
 * Loaded by --import. Requiring the file costs least: importing a CommonJS file makes Node parse it for its export names
 * first, which takes 20 ms on Node 22 (`node scripts/startup.mjs --forms yes`). Nodes before 20.16 and 22.3 have no
 * getBuiltinModule.
 */
const REGISTER_MJS = `${SPDX}
const { createRequire } = process.getBuiltinModule?.('module') ?? (await import('module'));
createRequire(import.meta.url)('./register.cjs');
`;

/** What lib/preload.ts requires when the app listens: a bundle of its own beside register.cjs. */
const CORE = './core.cjs';

async function bundle(entry, format, outfile) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    write: false,
    format,
    platform: 'node',
    target: TARGET,
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    banner: { js: SPDX },
    external: [CORE],
    logLevel: 'warning',
  });
  writeIfChanged(outfile, outputFiles[0].contents);
  return outfile;
}

async function buildDist() {
  const written = await Promise.all([
    bundle('register/register.ts', 'cjs', join(dist, 'register.cjs')),
    bundle('lib/core.ts', 'cjs', join(dist, 'core.cjs')),
    bundle('lib/index.ts', 'cjs', join(dist, 'index.cjs')),
    bundle('lib/index.ts', 'esm', join(dist, 'index.mjs')),
  ]);
  const registerMjs = join(dist, 'register.mjs');
  writeIfChanged(registerMjs, REGISTER_MJS);
  removeOthers(dist, [...written, registerMjs, ...(await buildTypes())]);
}

/** Declarations for both module systems: the same text as .d.ts (require) and as .d.mts (import). */
async function buildTypes() {
  const out = temporaryFolder(tree);
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const args = [tsc, '-p', 'tsconfig.types.json', '--outDir', out];
  const { status, output } = await runCollected(process.execPath, args);
  if (status !== 0) throw new Error(`tsc wrote no types (status ${status})\n${output}`);
  const index = readFileSync(join(out, 'index.d.ts'), 'utf8');
  // A relative import in a .d.mts needs its extension, which the sources leave out.
  if (/from '\.|import\('\./.test(index))
    throw new Error('the types of lib/index.ts must need no other file');
  const declarations = { index, register: `${SPDX}\nexport {};\n` };
  const written = [];
  for (const [name, text] of Object.entries(declarations)) {
    for (const suffix of ['d.ts', 'd.mts']) {
      const path = join(dist, 'types', `${name}.${suffix}`);
      writeIfChanged(path, text);
      written.push(path);
    }
  }
  return written;
}

async function transpile(source) {
  const file = relative(root, source);
  const output = join(tree, file.replace(/\.ts$/, '.js'));
  const { code } = await transform(readFileSync(source, 'utf8'), {
    loader: 'ts',
    format: 'cjs',
    platform: 'node',
    target: TARGET,
    sourcefile: source,
    sourcemap: 'inline',
    tsconfigRaw: { compilerOptions: { alwaysStrict: true, target: 'es2022', useDefineForClassFields: true } },
    logLevel: 'warning',
  });
  writeIfChanged(output, code);
  return output;
}

function copy(source) {
  const output = join(tree, relative(root, source));
  copyIfChanged(source, output);
  return output;
}

async function buildTree() {
  const sources = TREE_FOLDERS.flatMap((folder) => filesBelow(join(root, folder))).filter(
    (path) => !/\.(d\.ts|md)$/.test(path),
  );
  const written = await mapLimited(sources, 8, (path) =>
    path.endsWith('.ts') ? transpile(path) : copy(path),
  );
  const core = join(tree, 'lib/core.cjs');
  writeIfChanged(core, "module.exports = require('./core.js');\n");
  written.push(core);
  for (const folder of TREE_FOLDERS) removeOthers(join(tree, folder), written);
}

async function buildNative() {
  const script = join(root, 'scripts/native.mjs');
  const { status, output } = await runCollected(process.execPath, [script, 'build']);
  if (status !== 0) throw new Error(`the native addon was not built\n${output}`);
}

writeIfChanged(join(tree, '.gitignore'), '*\n');
// Each part is carried as far as it goes, so that a broken one does not keep the tests of the others from running.
for (const { reason } of await Promise.allSettled([buildDist(), buildTree(), buildNative()])) {
  if (!reason) continue;
  // esbuild has printed its own messages with file and line.
  process.stderr.write(`build: ${reason.errors ? `${reason.errors.length} error(s)` : reason.message}\n`);
  process.exitCode = 1;
}
