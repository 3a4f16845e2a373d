// SPDX-License-Identifier: Apache-2.0
// What the preload costs a program that never listens: node scripts/startup.mjs [--runs N] [--forms yes] [NODE ...]
// NODE is the path of a binary or a major version (installed from npm). Runs of all variants take turns, so that a
// change of the machine's speed meets them all.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitArguments } from './util/arguments.mjs';
import { temporaryFolder } from './util/files.mjs';
import { nodeBinary, VERSIONS } from './util/nodes.mjs';
import { fail, root } from './util/shell.mjs';
import { cleanEnvironment } from './util/test-run.mjs';

/** The bound, on both ways of preloading. */
const BOUND_MS = 3;

/** Ways in which register.mjs could load register.cjs; the one in use is in build.mjs. */
const FORMS = {
  'import statement': "import './register.cjs';",
  'import node:module':
    "import { createRequire } from 'node:module';\ncreateRequire(import.meta.url)('./register.cjs');",
  getBuiltinModule: "process.getBuiltinModule('module').createRequire(import.meta.url)('./register.cjs');",
};

function variants(folder, withForms) {
  const empty = join(folder, 'empty');
  for (const suffix of ['js', 'cjs', 'mjs']) writeFileSync(`${empty}.${suffix}`, '');
  const list = [
    { name: 'plain', preload: [] },
    { name: '-r empty.cjs', preload: ['-r', `${empty}.cjs`], above: 'plain' },
    {
      name: '-r fastsocket',
      preload: ['-r', join(root, 'dist/register.cjs')],
      above: 'plain',
      bound: BOUND_MS,
    },
    { name: '--import empty.mjs', preload: ['--import', `${empty}.mjs`], above: 'plain' },
    {
      name: '--import fastsocket',
      preload: ['--import', join(root, 'dist/register.mjs')],
      above: '--import empty.mjs',
      bound: BOUND_MS,
    },
  ];
  if (withForms) {
    for (const file of ['register.cjs', 'core.cjs'])
      copyFileSync(join(root, 'dist', file), join(folder, file));
    for (const [index, [name, text]] of Object.entries(FORMS).entries()) {
      const path = join(folder, `form${index}.mjs`);
      writeFileSync(path, `${text}\n`);
      list.push({ name: `--import, ${name}`, preload: ['--import', path], above: '--import empty.mjs' });
    }
  }
  return list.map((variant) => ({ ...variant, args: [...variant.preload, `${empty}.js`], times: [] }));
}

function timeOnce(node, args, env) {
  const begin = process.hrtime.bigint();
  const { status, stderr } = spawnSync(node, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const elapsed = Number(process.hrtime.bigint() - begin) / 1e6;
  if (status !== 0 || stderr.length > 0) fail(`${args.join(' ')} ended with status ${status}\n${stderr}`);
  return elapsed;
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** Median, and half the width of its 95 % interval from the order statistics around it (n/2 ± 0.98 sqrt(n)). */
function summary(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const half = 0.98 / Math.sqrt(sorted.length);
  return {
    median: quantile(sorted, 0.5),
    error: (quantile(sorted, 0.5 + half) - quantile(sorted, 0.5 - half)) / 2,
  };
}

function measure(node, runs, list) {
  const env = cleanEnvironment();
  for (let run = -2; run < runs; run++) {
    for (const variant of list) {
      const elapsed = timeOnce(node, variant.args, env);
      if (run >= 0) variant.times.push(elapsed);
    }
  }
}

/**
 * Prints one line a variant; returns false when one is above its bound by more than the error of the measurement. A
 * difference is the median of the differences within the rounds.
 */
function report(list) {
  let good = true;
  for (const { name, times, above, bound } of list) {
    const { median, error } = summary(times);
    let text = `  ${name.padEnd(30)} ${median.toFixed(2)} ms ±${error.toFixed(2)}`;
    if (above !== undefined) {
      const base = list.find((variant) => variant.name === above).times;
      const difference = summary(times.map((time, round) => time - base[round]));
      text += `  ${difference.median >= 0 ? '+' : ''}${difference.median.toFixed(2)} ms ±${difference.error.toFixed(2)} over ${above}`;
      if (bound !== undefined) {
        const broken = difference.median - difference.error > bound;
        const kept = difference.median + difference.error <= bound;
        text += `  (bound ${bound} ms ${kept ? 'kept' : broken ? 'BROKEN' : 'not decided: use more runs or a quieter machine'})`;
        good &&= !broken;
      }
    }
    console.log(text);
  }
  return good;
}

const { options, names } = splitArguments(process.argv.slice(2), { runs: 'number', forms: 'yes' });
const runs = Number(options.runs ?? 40);
const folder = temporaryFolder();
let good = true;
for (const name of names.length > 0 ? names : VERSIONS) {
  const node = existsSync(name) ? name : nodeBinary(name);
  const list = variants(folder, options.forms !== undefined);
  console.log(
    `Node ${spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim()}, ${runs} runs of each, medians`,
  );
  measure(node, runs, list);
  good = report(list) && good;
}
process.exit(good ? 0 : 1);
