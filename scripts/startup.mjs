// SPDX-License-Identifier: Apache-2.0
// What the preload costs a program that never listens: node scripts/startup.mjs [--runs N] [--forms yes] [NODE ...]
// NODE is the path of a binary or a major version (installed from npm). Runs of all variants take turns, so that a
// change of the machine's speed meets them all. Beside the time, the CPU time that the program itself has seen (all its
// threads, up to its exit): it moves less when other programs run. On a busy machine,
// as root: chrt -f 10 node scripts/startup.mjs
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitArguments } from './util/arguments.mjs';
import { temporaryFolder } from './util/files.mjs';
import { nodeBinary, VERSIONS } from './util/nodes.mjs';
import { fail, root } from './util/shell.mjs';
import { cleanEnvironment } from './util/test-run.mjs';

/** What either way of preloading may add. */
const BOUND_MS = 3;

/** Ways in which register.mjs could load register.cjs; the one in use is in build.mjs. */
const FORMS = {
  'import statement': "import './register.cjs';",
  'import node:module':
    "import { createRequire } from 'node:module';\ncreateRequire(import.meta.url)('./register.cjs');",
  getBuiltinModule: "process.getBuiltinModule('module').createRequire(import.meta.url)('./register.cjs');",
};

const APP = `
process.once('exit', () => {
  const { user, system } = process.cpuUsage();
  require('node:fs').writeSync(1, String(user + system));
});
`;

function variants(folder, withForms) {
  const empty = join(folder, 'empty');
  for (const suffix of ['cjs', 'mjs']) writeFileSync(`${empty}.${suffix}`, '');
  const app = join(folder, 'app.js');
  writeFileSync(app, APP);
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
  return list.map((variant) => ({ ...variant, args: [...variant.preload, app], times: [], cpu: [] }));
}

function timeOnce(node, args, env) {
  const begin = process.hrtime.bigint();
  const { status, stdout, stderr } = spawnSync(node, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const elapsed = Number(process.hrtime.bigint() - begin) / 1e6;
  if (status !== 0 || stderr.length > 0) fail(`${args.join(' ')} ended with status ${status}\n${stderr}`);
  return { elapsed, cpu: Number(stdout) / 1e3 };
}

function quantile(sorted, q) {
  return sorted[Math.max(0, Math.min(sorted.length - 1, Math.floor(sorted.length * q)))];
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
      const { elapsed, cpu } = timeOnce(node, variant.args, env);
      if (run < 0) continue;
      variant.times.push(elapsed);
      variant.cpu.push(cpu);
    }
  }
}

const signed = ({ median, error }) => `${median >= 0 ? '+' : ''}${median.toFixed(2)} ±${error.toFixed(2)}`;

/** Of the differences within the rounds. */
function difference(values, base) {
  return summary(values.map((value, round) => value - base[round]));
}

/** 'kept' or 'BROKEN' only where the error of the measurement leaves no doubt. */
function verdict({ median, error }, bound) {
  if (median + error <= bound) return 'kept';
  return median - error > bound ? 'BROKEN' : 'not decided: use more runs or a quieter machine';
}

/** Prints one line a variant; returns false when a bound is broken. */
function report(list) {
  let good = true;
  for (const { name, times, cpu, above, bound } of list) {
    let text = `  ${name.padEnd(30)} ${summary(times).median.toFixed(2)} ms`;
    if (above !== undefined) {
      const base = list.find((variant) => variant.name === above);
      const time = difference(times, base.times);
      text += `  ${signed(time)} (CPU ${signed(difference(cpu, base.cpu))}) over ${above}`;
      if (bound !== undefined) {
        const word = verdict(time, bound);
        text += `; bound ${bound} ms: ${word}`;
        good &&= word !== 'BROKEN';
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
