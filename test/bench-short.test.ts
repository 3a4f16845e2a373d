// SPDX-License-Identifier: Apache-2.0
// The benchmarks of one server as a whole, in runs too short for their figures to say anything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nginxMissing } from '../bench/lib/nginx';
import { check, ended, endsWithAll, startBench, whyNoBench } from './support/bench';

const options = { skip: whyNoBench(), timeout: 90_000 };

const NODES = ['plain Node', 'fastsocket', 'fastsocket, seam off'];
const FIGURES = ['cpuUs', 'perSecond', 'answered', 'busy'];
const SHORTLY = ['--pairs', '1', '--seconds', '0.3', '--clients', '16'];

test('short connections: a row for each variant, and nobody closes before the server', options, async (t) => {
  const words = ['--client', 'fin', '--nginx', '--ablation'];
  const { rows, variants } = await ended(startBench(t, 'short-connections', ...SHORTLY, ...words));
  const pieces = ['batch', 'nodelay', 'read'].map((piece) => `fastsocket without ${piece}`);
  const names = [...NODES, ...pieces, ...(nginxMissing() ? [] : ['nginx'])];
  check(rows, variants[0] ?? [], names, FIGURES);
  for (const { name, measures } of variants[0] ?? []) {
    const { server = 0, client = 0 } = (measures[0]?.['closedFirst'] ?? {}) as Record<string, number>;
    assert.ok(server > 20 * client, `${name}: ${server} ${client}`);
  }
});

test('latency: a tenth of what plain Node can do', options, async (t) => {
  const { rows, variants } = await ended(startBench(t, 'short-connections', ...SHORTLY, '--latency'));
  check(rows, variants[0] ?? [], NODES, FIGURES);
  for (const { measures } of variants[0] ?? []) {
    const { p50 = 0, p99 = 0, max = 0 } = (measures[0]?.['answerUs'] ?? {}) as Record<string, number>;
    assert.ok(0 < p50 && p50 <= p99 && p99 <= max, `${p50} ${p99} ${max}`);
  }
});

test('lasting connections: HTTP requests and WebSocket messages', options, async (t) => {
  // the clients are Node programs: they need some of the time to start
  const { rows, variants } = await ended(startBench(t, 'keep-alive', ...SHORTLY, '--seconds', '0.5'));
  assert.equal(variants.length, 2);
  for (const run of variants) check(rows, run, NODES, FIGURES);
});

for (const [signal, status] of [
  ['SIGTERM', 143],
  ['SIGKILL', null],
] as const) {
  test(`${signal} ends it with all its processes`, options, async (t) => {
    const words = ['--client', 'fin', '--pairs', '1', '--seconds', '20'];
    // this process, a server, and a client
    const all = { signal, status, processes: 3 };
    await endsWithAll(t, startBench(t, 'short-connections', ...words), all);
  });
}
