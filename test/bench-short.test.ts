// SPDX-License-Identifier: Apache-2.0
// The benchmarks of one server as a whole, in runs too short for their figures to say anything.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { nginxMissing } from '../bench/lib/nginx';
import { alive, treeCpu } from '../bench/lib/proc';
import { programPath } from '../bench/lib/programs';

const missing = ['taskset', 'setpriv', 'cc'].filter((name) => !programPath(name));
const skip =
  process.platform !== 'linux' ? 'needs /proc' : missing.length > 0 && `${missing.join(', ')} not installed`;
const options = { skip, timeout: 90_000 };

const FILE = 'measures.json';

interface Bench {
  child: ChildProcess;
  folder: string;
  stdout: string;
  stderr: string;
}

function start(t: TestContext, name: string, ...words: string[]): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'bench-short-'));
  const all = [...words, '--json', join(folder, FILE)];
  const script = join(__dirname, '../bench', name, 'index.js');
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn(process.execPath, [script, ...all], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const bench: Bench = { child, folder, stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream]?.setEncoding('utf8').on('data', (text: string) => (bench[stream] += text));
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  return bench;
}

async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `not within 10 s: ${what}`);
    await sleep(20);
  }
}

interface Measured {
  name: string;
  measures: Record<string, unknown>[];
}

/** Runs it to its end: the table on stdout, and the measures of its file. */
async function ended(bench: Bench): Promise<{ rows: string[][]; variants: Measured[][] }> {
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
function check(rows: string[][], variants: Measured[], names: readonly string[], figures: string[]): void {
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

const NODES = ['plain Node', 'fastsocket', 'fastsocket, seam off'];
const FIGURES = ['cpuUs', 'perSecond', 'answered', 'busy'];
const SHORTLY = ['--pairs', '1', '--seconds', '0.3', '--clients', '16'];

test('short connections: a row for each variant, and nobody closes before the server', options, async (t) => {
  const words = ['--client', 'fin', '--nginx', '--ablation'];
  const { rows, variants } = await ended(start(t, 'short-connections', ...SHORTLY, ...words));
  const pieces = ['batch', 'nodelay', 'read'].map((piece) => `fastsocket without ${piece}`);
  const names = [...NODES, ...pieces, ...(nginxMissing() ? [] : ['nginx'])];
  check(rows, variants[0] ?? [], names, FIGURES);
  for (const { name, measures } of variants[0] ?? []) {
    const { server = 0, client = 0 } = (measures[0]?.['closedFirst'] ?? {}) as Record<string, number>;
    assert.ok(server > 20 * client, `${name}: ${server} ${client}`);
  }
});

test('latency: a tenth of what plain Node can do', options, async (t) => {
  const { rows, variants } = await ended(start(t, 'short-connections', ...SHORTLY, '--latency'));
  check(rows, variants[0] ?? [], NODES, FIGURES);
  for (const { measures } of variants[0] ?? []) {
    const { p50 = 0, p99 = 0, max = 0 } = (measures[0]?.['answerUs'] ?? {}) as Record<string, number>;
    assert.ok(0 < p50 && p50 <= p99 && p99 <= max, `${p50} ${p99} ${max}`);
  }
});

test('lasting connections: HTTP requests and WebSocket messages', options, async (t) => {
  // the clients are Node programs: they need some of the time to start
  const { rows, variants } = await ended(start(t, 'keep-alive', ...SHORTLY, '--seconds', '0.5'));
  assert.equal(variants.length, 2);
  for (const run of variants) check(rows, run, NODES, FIGURES);
});

for (const [signal, status] of [
  ['SIGTERM', 143],
  ['SIGKILL', null],
] as const) {
  test(`${signal} ends it with all its processes`, options, async (t) => {
    const { child } = start(t, 'short-connections', '--client', 'fin', '--pairs', '1', '--seconds', '20');
    const pid = child.pid as number;
    // this process, a server, and a client
    await eventually('a server and a client', () => treeCpu(pid).size >= 3);
    const pids = [...treeCpu(pid).keys()];
    child.kill(signal);
    const [code] = await once(child, 'close');
    assert.equal(code, status);
    t.after(() => pids.filter(alive).forEach((each) => process.kill(each, 'SIGKILL')));
    await eventually('all processes have gone', () => !pids.some(alive));
  });
}
