// SPDX-License-Identifier: Apache-2.0
// Every check that needs no running program: node scripts/check.mjs
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { brokenLinks, untoldSettings } from './util/documents.mjs';
import { filesBelow } from './util/files.mjs';
import { root, run, which } from './util/shell.mjs';

const SOURCE_FOLDERS = ['lib', 'register', 'native', 'test', 'bench', 'scripts'];
const TYPESCRIPT_LINES = 300;
const MOST_LINES = 400;

/** Ways to reach the environment that biome's noProcessEnv does not see. */
const HIDDEN_ENVIRONMENT = /process\s*\[\s*['"`]env|\{[^}]*\benv\b[^}]*\}\s*=\s*process\b/;

const sources = SOURCE_FOLDERS.flatMap((folder) => filesBelow(join(root, folder), ['node_modules', 'build']))
  .map((path) => ({ path: relative(root, path), text: readFileSync(path, 'utf8') }))
  .filter(({ path }) => /\.(ts|mjs|cjs|js|cc|h)$/.test(path));

const program = (name) => join(root, 'node_modules', name);

/** Each returns true when all is well, and has said on stdout what is not. */
const CHECKS = {
  'lint and format (biome)': () =>
    run(process.execPath, [program('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', '.']) === 0,
  'types (tsc)': () => run(process.execPath, [program('typescript/bin/tsc'), '--noEmit']) === 0,
  'file sizes': fileSizes,
  'licence lines': licenceLines,
  'one reader of the environment': hiddenEnvironment,
  'package-lock.json': lockfile,
  'documents (links, settings)': documents,
  'native code (clang-format, clang-tidy)': native,
};

function complain(problems) {
  for (const problem of problems) console.log(`  ${problem}`);
  return problems.length === 0;
}

function fileSizes() {
  const problems = [];
  for (const { path, text } of sources) {
    const lines = text.split('\n').length - 1;
    if (lines > MOST_LINES)
      problems.push(`${path}: ${lines} lines, ${MOST_LINES} allowed: split it by concern`);
    else if (/\.[cm]?[tj]s$/.test(path) && lines > TYPESCRIPT_LINES)
      console.log(`  note: ${path} has ${lines} lines (aim: ${TYPESCRIPT_LINES})`);
  }
  return complain(problems);
}

function licenceLines() {
  const first = (text) => text.split('\n').find((line) => !line.startsWith('#!'));
  const own = sources.filter(({ path }) => !path.startsWith('test/fixtures/'));
  const missing = own.filter(({ text }) => first(text) !== '// SPDX-License-Identifier: Apache-2.0');
  return complain(missing.map(({ path }) => `${path}: the first line is not the SPDX line`));
}

function hiddenEnvironment() {
  const outside = sources.filter(
    ({ path }) => /^(lib|register)\//.test(path) && !path.startsWith('lib/config/'),
  );
  return complain(
    outside
      .filter(({ text }) => HIDDEN_ENVIRONMENT.test(text))
      .map(({ path }) => `${path}: process.env is read in lib/config only`),
  );
}

/** Links and the table of settings. */
function documents() {
  const paths = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'lib/README.md', 'bench/README.md'];
  const texts = new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]));
  const settings = readFileSync(join(root, 'lib/config/settings.ts'), 'utf8');
  return complain([
    ...brokenLinks(texts, (path) => existsSync(join(root, path))),
    ...untoldSettings(texts.get('README.md'), settings),
  ]);
}

/** Addresses would tie the lock file to one machine's registry. */
function lockfile() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const named = Object.keys(packages).filter((name) => packages[name].resolved !== undefined);
  return complain(
    named.map(
      (name) => `${name}: has a "resolved" address; remove it (npm: omit-lockfile-registry-resolved)`,
    ),
  );
}

function native() {
  const script = join(root, 'scripts/native.mjs');
  if (!existsSync(script)) return complain(['scripts/native.mjs is missing']);
  const missing = ['clang-format', 'clang-tidy'].filter((tool) => !which(tool));
  if (missing.length === 0) return run(process.execPath, [script, 'check']) === 0;
  console.log(`  skipped: ${missing.join(', ')} not installed`);
  return !process.env.CI;
}

const failed = [];
for (const [name, check] of Object.entries(CHECKS)) {
  console.log(`== ${name}`);
  if (!check()) failed.push(name);
}
console.log(failed.length === 0 ? 'all checks passed' : `FAILED: ${failed.join('; ')}`);
process.exit(failed.length === 0 ? 0 : 1);
