// SPDX-License-Identifier: Apache-2.0
// Beside other preloads, before them and behind them: all cores serve, every byte is what it is without the hook, and a
// signal ends every process as it ends the one process of plain Node.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { transformSync } from 'esbuild';
import { fixture } from './support/app';
import { outcome, type Preload, startBeside } from './support/preloads';
import { temporaryFolder } from './support/temporary';

const folder = temporaryFolder('preloads');

const APP = fixture('preloads/app.js');

/** The app behind a few lines of TypeScript that Node alone does not understand. */
function typescript(): string {
  const path = join(folder, 'app.ts');
  writeFileSync(path, `enum App { path = ${JSON.stringify(APP)} }\nrequire(App.path as string);\n`);
  return path;
}

/** The app as a bundler leaves it, other lines than the original's, with a map in it. */
function mapped(): string {
  const path = join(folder, 'mapped.js');
  const { code } = transformSync(readFileSync(APP, 'utf8'), {
    sourcemap: 'inline',
    sourcefile: 'original.ts',
    banner: '// one\n// two\n// three',
  });
  writeFileSync(path, code);
  return path;
}

function dotenv(): string {
  const path = join(folder, '.env');
  writeFileSync(path, 'FROM_DOTENV=yes\n');
  return path;
}

const ending = (library: string): Preload => ({
  flag: '-r',
  module: fixture('preloads/ending.cjs'),
  env: { ENDING: library },
});

/** Their files are written once: an app that starts must not find one half written. */
const PRELOADS: Record<string, Preload> = {
  'tsx, by --import': { flag: '--import', module: 'tsx', script: typescript() },
  'tsx, by -r': { flag: '-r', module: 'tsx/cjs', script: typescript() },
  'a handler of its own': { flag: '-r', module: fixture('preloads/handler.cjs') },
  'a hidden handler': {
    flag: '-r',
    module: fixture('preloads/hidden.cjs'),
    env: { ENDING: 'preload' },
  },
  dotenv: {
    flag: '-r',
    module: 'dotenv/config',
    env: { DOTENV_CONFIG_PATH: dotenv(), DOTENV_CONFIG_QUIET: 'true' },
  },
  'source-map-support': { flag: '-r', module: 'source-map-support/register', script: mapped() },
  'signal-exit': ending('signal-exit'),
  'close-with-grace': ending('close-with-grace'),
  'http-terminator': ending('http-terminator'),
  stoppable: ending('stoppable'),
};

/** What shows in an answer that the preload does something. */
const SIGN: Record<string, RegExp> = {
  dotenv: /"dotenv": "yes"/,
  'source-map-support': /original\.ts:\d+/,
};

const ENDS = [
  ['first', 'SIGTERM', (pid: number) => void process.kill(pid, 'SIGTERM')],
  // as a terminal does it
  ['last', 'SIGINT', (pid: number) => void process.kill(-pid, 'SIGINT')],
] as const;

describe('beside another preload', { concurrency: 2 }, () => {
  for (const [name, preload] of Object.entries(PRELOADS)) {
    for (const [place, signal, send] of ENDS) {
      test(`${name}, the hook comes ${place}: ${signal}`, async (t) => {
        const plain = await outcome(t, await startBeside(t, preload, 'none'), send);
        const hooked = await outcome(t, await startBeside(t, preload, place), send);
        assert.equal(plain.said.length, 1);
        assert.match(plain.said[0] as string, SIGN[name] ?? /"request": "\/"/);
        assert.equal(plain.histories.length, 1);
        assert.deepEqual(hooked, plain);
      });
    }
  }
});
