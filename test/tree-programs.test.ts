// SPDX-License-Identifier: Apache-2.0
// Node programs that are no servers, with the hook in NODE_OPTIONS: by themselves, and started by the origin or a worker of
// a tree. Output and exit status are what they are without the hook, the environment has one marker more at most.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { hook, root } from './support/app';
import { startPrograms } from './support/programs';
import { temporaryFolder } from './support/temporary';

interface Program {
  command: string;
  words: string[];
  input?: string;
}

interface Ran {
  status: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

const MARKER = 'FASTSOCKET_CORE';
const node = process.execPath;
const folder = realpathSync(temporaryFolder('tree'));

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text);
}

/** A package with scripts, a program of its own, tests, and a file that eslint complains about. */
function makeProject(): void {
  const scripts = {
    say: 'node say.js',
    environment: `node -p ${'"JSON.stringify(process.env)"'}`,
    test: 'node say.js 3',
  };
  write('package.json', JSON.stringify({ name: 'project', version: '1.0.0', scripts }));
  write(
    'say.js',
    `console.log(process.argv.slice(2), process.execArgv, process.title, Object.keys(process).sort().join());
console.error(process.listenerCount('SIGTERM'), Object.getOwnPropertyNames(globalThis).sort().join());
process.exitCode = Number(process.argv[2] ?? 0);\n`,
  );
  write(
    'nested.js',
    `const { spawnSync } = require('node:child_process');
const { status } = spawnSync(process.execPath, ['say.js', '5'], { stdio: 'inherit' });
process.exitCode = status;\n`,
  );
  write('throws.mjs', "await 0;\nthrow new Error('on purpose');\n");
  write('mistake.js', 'const = 1;\n');
  write(
    'some.test.js',
    `const { test } = require('node:test');
const http = require('node:http');
test('passes', () => {});
test('serves', async () => {
  const server = http.createServer((_request, response) => response.end('hello'));
  await new Promise((resolve) => server.listen(0, resolve));
  const answer = await fetch(\`http://127.0.0.1:\${server.address().port}\`);
  if ((await answer.text()) !== 'hello') throw new Error('no hello');
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
test('fails', () => { throw new Error('on purpose'); });\n`,
  );
  write(
    'eslint.config.js',
    "module.exports = [{ files: ['bad.js'], rules: { 'no-unused-vars': 'error' } }];\n",
  );
  write('bad.js', 'const unused = 1;\n');
  mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true });
  write(
    'node_modules/.bin/tool',
    '#!/usr/bin/env node\nconsole.log("tool", process.argv.slice(2)); process.exit(6);\n',
  );
  chmodSync(join(folder, 'node_modules/.bin/tool'), 0o755);
}

const PROGRAMS: Record<string, Program> = {
  'node, nested': { command: node, words: ['nested.js'] },
  'node -e': { command: node, words: ['-e', 'console.log(process.execArgv); process.exit(7)'] },
  'node -p': {
    command: node,
    words: ['-p', 'require("node:net").createServer().listen(0).close().listening'],
  },
  'node, from standard input': { command: node, words: ['-'], input: 'console.log(process.argv.length)' },
  'node --check': { command: node, words: ['--check', 'mistake.js'] },
  'node, an error': { command: node, words: ['throws.mjs'] },
  'the REPL': {
    command: node,
    words: ['-i'],
    input: '6 * 7\nrequire("net").createServer().listen(0).unref() && 1\n',
  },
  'node --test': { command: node, words: ['--test', '--test-reporter=tap', 'some.test.js'] },
  eslint: { command: node, words: [join(root, 'node_modules/eslint/bin/eslint.js'), 'bad.js'] },
  'npm run': { command: 'npm', words: ['run', 'say', '--', 'word'] },
  'npm test, failing': { command: 'npm', words: ['test'] },
  'npm exec': { command: 'npm', words: ['exec', '--offline', '--', 'tool', 'word'] },
  npx: { command: 'npx', words: ['--offline', 'tool', 'word'] },
};

/** What a terminal makes of it. */
const TERMINAL: Program = {
  command: 'script',
  words: ['-qec', `${node} -i`, '/dev/null'],
  input: '6 * 7\n.exit\n',
};

const ENVIRONMENTS: Record<string, Program> = {
  'a program that is not Node': { command: 'env', words: ['-0'] },
  node: { command: node, words: ['-p', 'JSON.stringify(process.env)'] },
  'npm run': { command: 'npm', words: ['run', '--silent', 'environment'] },
};

/** For all of them: npm asks no network and leaves nothing behind. */
const ENV = {
  NODE_DEBUG: '',
  NO_COLOR: '1',
  TERM: 'dumb',
  NODE_REPL_HISTORY: '',
  PATH: `${dirname(node)}${delimiter}${process.env['PATH']}`,
  npm_config_cache: join(folder, 'cache'),
  npm_config_update_notifier: 'false',
};

const steady = ({ status, signal, stdout, stderr }: Ran): Ran => {
  const text = (t: string) =>
    t
      .replaceAll(/\(node:\d+\)/g, '(node)')
      .replaceAll(/duration_ms:? [\d.]+/g, 'duration_ms')
      .replaceAll(/^.*debug-0\.log$/gm, '');
  return { status, signal, stdout: text(stdout), stderr: text(stderr) };
};

type Way = (program: Program) => Promise<Ran>;

const path = (program: Program): string =>
  `/run?what=${encodeURIComponent(JSON.stringify({ ...program, cwd: folder, env: ENV }))}`;

function alone(options: string): Way {
  return async ({ command, words, input }) => {
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(FASTSOCKET|NODE_TEST|NODE_V8)/.test(name)),
    );
    const env = { ...clean, ...ENV, NODE_OPTIONS: options, FASTSOCKET_WORKERS: '2' };
    return spawnSync(command, words, { cwd: folder, env, input, encoding: 'utf8' });
  };
}

/** Started by the test itself, by the origin, and by a worker: all with the hook; and by plain Node, without. */
async function makeWays(t: TestContext): Promise<{ plain: Way; ways: Record<string, Way> }> {
  const [without, tree] = await Promise.all([
    startPrograms(t, { hooked: false }),
    startPrograms(t, { hooked: 'options' }),
  ]);
  return {
    plain: async (program) => JSON.parse(await without.origin(path(program))) as Ran,
    ways: {
      'by itself': alone(`-r ${hook}`),
      'from the origin': async (program) => JSON.parse(await tree.origin(path(program))) as Ran,
      'from a worker': async (program) => JSON.parse(await tree.worker(path(program))) as Ran,
    },
  };
}

const noTerminal = spawnSync('script', ['--version']).status === 0 ? false : 'no script(1) here';

const environment = (text: string): Record<string, string> =>
  text.startsWith('{')
    ? (JSON.parse(text) as Record<string, string>)
    : Object.fromEntries(
        text
          .split('\0')
          .filter(Boolean)
          .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
      );

test('programs that are no servers', async (t) => {
  makeProject();
  const { plain, ways } = await makeWays(t);

  for (const [name, program] of Object.entries(PROGRAMS)) {
    await t.test(name, async () => {
      const expected = steady(await plain(program));
      assert.ok(expected.stdout + expected.stderr);
      for (const [way, run] of Object.entries(ways))
        assert.deepEqual(steady(await run(program)), expected, way);
    });
  }

  await t.test('the REPL in a terminal', { skip: noTerminal }, async () => {
    const results = ({ status, stdout }: Ran) => [
      status,
      /^42\r?$/m.test(stdout),
      /Welcome to Node\.js/.test(stdout),
    ];
    for (const [way, run] of Object.entries({ plain, ...ways }))
      assert.deepEqual(results(await run(TERMINAL)), [0, true, true], way);
  });

  for (const [name, program] of Object.entries(ENVIRONMENTS)) {
    await t.test(`the environment of ${name}: one marker more at most`, async () => {
      const { NODE_OPTIONS: _, ...expected } = environment((await plain(program)).stdout);
      // the test's own environment is not the app's
      const { NODE_OPTIONS: __, ...own } = environment((await alone('')(program)).stdout);
      for (const [way, run] of Object.entries(ways)) {
        const { NODE_OPTIONS, [MARKER]: mark, ...seen } = environment((await run(program)).stdout);
        assert.equal(NODE_OPTIONS, `-r ${hook}`, way);
        if (way === 'by itself') assert.equal(mark, undefined);
        else assert.match(mark ?? '', way === 'from the origin' ? /^origin$/ : /^(\d+|none)$/);
        assert.deepEqual(differences(seen, way === 'by itself' ? own : expected), [], way);
      }
    });
  }
});

/** Ports and files of the two apps are not the same. */
const OWN = /^(PORT|ASK|ANSWER)$/;

function differences(a: Record<string, string>, b: Record<string, string>): string[] {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].filter((name) => !OWN.test(name) && a[name] !== b[name]);
}
