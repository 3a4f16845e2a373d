// SPDX-License-Identifier: Apache-2.0
// Beside a tracer: every process is traced, each request once, and nothing is traced that is not there without the hook.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { Agent } from './support/agent';
import { until } from './support/app';
import { type Outcome, outcome, type Place, type Preload, startBeside } from './support/preloads';

const SIGNALS: Record<Place, (pid: number) => void> = {
  none: (pid) => void process.kill(pid, 'SIGTERM'),
  first: (pid) => void process.kill(pid, 'SIGTERM'),
  last: (pid) => void process.kill(-pid, 'SIGTERM'),
};

const OPENTELEMETRY: Preload = {
  flag: '-r',
  module: '@opentelemetry/auto-instrumentations-node/register',
  env: {
    OTEL_TRACES_EXPORTER: 'console',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    // those of clouds ask their networks
    OTEL_NODE_RESOURCE_DETECTORS: 'env,process',
  },
};

interface Span {
  pid: number;
  name: string;
  kind: number;
}

/** What the console exporter has written, one object for each span. */
function spans(stdout: string): Span[] {
  const found: Span[] = [];
  for (const text of stdout.split(/^\{$/m)) {
    const [, pid] = /'process\.pid': (\d+)/.exec(text) ?? [];
    const [, name] = /^ {2}name: '(.*)',$/m.exec(text) ?? [];
    const [, kind] = /^ {2}kind: (\d)/m.exec(text) ?? [];
    if (name !== undefined) found.push({ pid: Number(pid), name, kind: Number(kind) });
  }
  return found;
}

function countByPid(of: { pid: number }[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { pid } of of) counts.set(pid, (counts.get(pid) ?? 0) + 1);
  return counts;
}

/** Everything but what the exporter writes, which has times and identifiers in it. */
const without = ({ stdout: _, ...rest }: Outcome): Omit<Outcome, 'stdout'> => rest;

async function openTelemetry(t: TestContext, place: Place) {
  const running = await startBeside(t, OPENTELEMETRY, place);
  const all = () => spans(running.app.stdout);
  const answered = () => running.ledger.entries.filter(({ event }) => event === 'answered');
  const seen = await outcome(t, running, async (pid) => {
    // before the signal: process.exit() does not wait for what is to be exported
    await until(() => all().length >= answered().length, `a span for each of ${answered().length}`);
    assert.deepEqual(countByPid(all()), countByPid(answered()));
    SIGNALS[place](pid);
  });
  return { ...without(seen), kinds: [...new Set(all().map(({ name, kind }) => `${kind} ${name}`))] };
}

async function datadog(t: TestContext, place: Place) {
  const agent = new Agent();
  const preload: Preload = {
    flag: '-r',
    module: 'dd-trace/init',
    env: {
      DD_TRACE_AGENT_URL: await agent.listen(t),
      DD_TRACE_FLUSH_INTERVAL: '0',
      DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
      DD_REMOTE_CONFIGURATION_ENABLED: 'false',
      DD_CRASHTRACKING_ENABLED: 'false',
    },
  };
  const running = await startBeside(t, preload, place);
  const answered = () => running.ledger.count('answered');
  const seen = await outcome(t, running, async (pid) => {
    await until(() => agent.count('web.request') >= answered(), `a span for each of ${answered()}`);
    assert.equal(agent.count('web.request'), answered());
    SIGNALS[place](pid);
  });
  return { ...without(seen), programs: agent.count('command_execution') };
}

describe('beside a tracer', { concurrency: 2 }, () => {
  for (const [name, traced] of Object.entries({ OpenTelemetry: openTelemetry, 'dd-trace': datadog })) {
    test(`${name}: as without the hook, in both orders`, async (t) => {
      const plain = await traced(t, 'none');
      assert.equal(plain.said.length, 1);
      for (const place of ['first', 'last'] as const) assert.deepEqual(await traced(t, place), plain, place);
    });
  }
});
