// SPDX-License-Identifier: Apache-2.0
// Benchmarks run as a whole.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { alive, treeCpu } from '../../bench/lib/proc';
import { programPath } from '../../bench/lib/programs';
import { temporaryFolder } from './temporary';

/** Why a bench cannot run here; false where it can. */
export function whyNoBench(): string | false {
  const missing = ['taskset', 'setpriv', 'cc'].filter((name) => !programPath(name));
  if (process.platform !== 'linux') return 'needs /proc';
  return missing.length > 0 && `${missing.join(', ')} not installed`;
}

const FILE = 'measures.json';

export interface Bench {
  child: ChildProcess;
  /** Its folder for temporary files. */
  folder: string;
  stdout: string;
  stderr: string;
}

export function startBench(t: TestContext, name: string, ...words: string[]): Bench {
  const folder = temporaryFolder('bench');
  const all = [...words, '--json', join(folder, FILE)];
  const script = join(__dirname, '../../bench', name, 'index.js');
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn(process.execPath, [script, ...all], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const bench: Bench = { child, folder, stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream]?.setEncoding('utf8').on('data', (text: string) => (bench[stream] += text));
  t.after(() => child.kill('SIGKILL'));
  return bench;
}

async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `not within 10 s: ${what}`);
    await sleep(20);
  }
}

export interface Measured {
  name: string;
  measures: Record<string, unknown>[];
}

/** Runs it to its end: the tables on stdout, and the measures of its file. */
export async function ended(bench: Bench): Promise<{ rows: string[][]; variants: Measured[][] }> {
  const [code] = await once(bench.child, 'close');
  assert.equal(code, 0, bench.stderr);
  assert.doesNotMatch(bench.stdout, /NaN|undefined|Infinity|n\/a/);
  const rows = bench.stdout.split('\n').map((line) => line.trim().split(/ {2,}/));
  assert.deepEqual(readdirSync(bench.folder), [FILE]);
  const { runs } = JSON.parse(readFileSync(join(bench.folder, FILE), 'utf8')) as {
    runs: { variants: Measured[]; remarks: string[] }[];
  };
  for (const { remarks } of runs) assert.deepEqual(remarks, []);
  return { rows, variants: runs.map(({ variants }) => variants) };
}

/** Each variant has a row that ends in no failures, and finite figures above 0 in the file. */
export function check(
  rows: string[][],
  variants: Measured[],
  names: readonly string[],
  figures: string[],
): void {
  assert.deepEqual(
    variants.map(({ name }) => name),
    names,
  );
  for (const { name, measures } of variants) {
    const row = rows.find(([first]) => first === name);
    assert.equal(row?.at(-1), '0', `failed, of ${name}`);
    for (const measure of measures) {
      assert.equal(measure['failed'], 0);
      for (const figure of figures) {
        const value = measure[figure];
        assert.ok(typeof value === 'number' && value > 0, `${name}: ${figure} ${value}`);
      }
    }
  }
}

/** A signal ends a bench of at least so many processes with all of them. */
export async function endsWithAll(
  t: TestContext,
  { child }: Bench,
  { signal, status, processes }: { signal: NodeJS.Signals; status: number | null; processes: number },
): Promise<void> {
  const pid = child.pid as number;
  await eventually(`${processes} processes`, () => treeCpu(pid).size >= processes);
  const pids = [...treeCpu(pid).keys()];
  child.kill(signal);
  const [code] = await once(child, 'close');
  assert.equal(code, status);
  t.after(() => pids.filter(alive).forEach((each) => process.kill(each, 'SIGKILL')));
  await eventually('all processes have gone', () => !pids.some(alive));
}
