// SPDX-License-Identifier: Apache-2.0
// Every way to listen looks the same to the app with and without the hook, in the origin and in each worker.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type App, fixture, freePort, startApp, until } from './support/app';
import { type Kind, whoAnswers } from './support/clients';
import { Ledger } from './support/ledger';

interface Form {
  kind?: Kind | 'paused';
  /** Where clients find it. */
  host?: string;
  /** Left to Node: no workers. */
  node?: true;
  /** The form does not end up listening. */
  deaf?: true;
  /** Its setImmediate has no fixed place among the other events. */
  racy?: true;
  /** Why it is left to Node, as reason() says it. */
  why?: string;
}

const FORMS: Record<string, Form> = {
  port: {},
  'port, callback': {},
  string: {},
  'port, backlog': {},
  'port, host': {},
  'port, host, backlog': {},
  'port, undefined host': {},
  'another loopback address': { host: '127.0.0.2' },
  'host name': { host: 'localhost', racy: true },
  'IPv6 loopback': { host: '::1' },
  'dual stack': { host: '::1' },
  'any IPv4': {},
  options: {},
  'options with all': {},
  ipv6Only: { host: '::1' },
  'ipv6Only without host': { host: '::1' },
  signal: { deaf: true },
  'aborted signal': { deaf: true },
  twice: {},
  'after close': { racy: true },
  'close, then listen': {},
  'again in the callback': {},
  'in a timer': { racy: true },
  'after await': {},
  inherited: {},
  exclusive: { node: true, why: 'exclusive: true' },
  reusePort: { node: true, why: 'reusePort: true, the app shares its port itself' },
  'in a thread': { node: true },
  'port 0': { node: true },
  nothing: { node: true },
  path: { node: true },
  'path in options': { node: true },
  fd: { node: true },
  handle: { node: true },
  'bad port': { deaf: true },
  'bad arguments': { deaf: true },
  'bad host': { deaf: true },
};

interface Run {
  /** What each process noted, up to its first request. */
  origin: string[];
  workers: string[][];
  app: App;
}

function upToRequest(events: string[]): string[] {
  const first = events.findIndex((event) => event.startsWith('request'));
  return first < 0 ? events : events.slice(0, first + 1);
}

interface Twin {
  form: string;
  kind: Kind | 'paused';
  expected: Form;
  env: Record<string, string>;
}

/** The pids of two workers, as soon as both serve. */
async function bothReady(app: App): Promise<number[]> {
  await until(() => {
    assert.deepEqual([app.child.exitCode, app.child.signalCode], [null, null], app.stderr);
    return /worker 1 is ready.*worker 2 is ready/s.test(app.stderr);
  }, 'two workers are ready');
  return app.workers();
}

async function run(t: TestContext, { form, kind, expected, env }: Twin, hook: boolean): Promise<Run> {
  const ledger = new Ledger();
  const port = await freePort();
  const socket = join(dirname(ledger.path), 'socket');
  const held = createServer();
  if (form === 'fd') await new Promise<void>((resolve) => held.listen({ port, exclusive: true }, resolve));
  const app = startApp(fixture('listen-forms.js'), {
    port,
    hook,
    fds: form === 'fd' ? [(held as unknown as { _handle: { fd: number } })._handle.fd] : [],
    args: [form, kind],
    env: { LEDGER: ledger.path, SOCKET: socket, ...(expected.racy ? {} : { IMMEDIATE: '1' }), ...env },
  });
  t.after(() => app.stop());
  held.close();
  const noted = (pattern: RegExp, pid: number) => ledger.of(pid).some((event) => pattern.test(event));
  const result = () => ({
    app,
    origin: upToRequest(ledger.of(app.pid)),
    workers: app.workers().map((pid) => upToRequest(ledger.of(pid))),
  });
  if (expected.deaf) {
    await app.ended;
    return result();
  }
  await until(
    () => noted(form === 'port' ? /^'listening'/ : /^callback/, app.pid),
    `${form} listens:\n${ledger.of(app.pid).join('\n')}\n${app.stderr}`,
  );
  if (!expected.racy) await until(() => noted(/^immediate/, app.pid), 'the immediate');
  const ask = () => {
    if (form === 'port 0' || form === 'nothing') return app.pid;
    const where = form.startsWith('path') ? { path: socket } : { port, host: expected.host ?? '127.0.0.1' };
    return whoAnswers(kind === 'paused' ? 'net' : kind, where);
  };
  await until(async () => (await ask()) === app.pid, 'an answer of the origin', 2_000);
  await until(() => noted(/^request/, app.pid), 'the request in the ledger');
  if (hook && !expected.node) {
    const silent = new Set(await bothReady(app));
    assert.equal(silent.size, 2);
    await until(async () => silent.delete(await ask()) && silent.size === 0, 'answers of both workers');
  }
  return result();
}

async function compare(
  t: TestContext,
  form: string,
  kind: Kind | 'paused',
  expected: Form,
  env: Record<string, string> = {},
): Promise<void> {
  const twin = { form, kind, expected, env };
  const [plain, hooked] = await Promise.all([run(t, twin, false), run(t, twin, true)]);
  assert.ok(plain.origin.length >= 3, plain.origin.join('\n'));
  assert.deepEqual(hooked.origin, plain.origin, 'the origin');
  for (const worker of hooked.workers) assert.deepEqual(worker, plain.origin, 'a worker');
  assert.equal(hooked.workers.length, expected.node || expected.deaf ? 0 : 2);
  if (expected.node) assert.doesNotMatch(hooked.app.stderr, /listener group/);
  const reasons = [...hooked.app.stderr.matchAll(/left to Node: (.*)/g)].map(([, why]) => why);
  if (expected.why) assert.deepEqual(reasons, [expected.why]);
  if (expected.deaf) assert.deepEqual(await hooked.app.ended, await plain.app.ended);
  assert.equal(hooked.app.stdout, '');
}

// most of the time of each is waiting
describe('a server listens', { concurrency: 2 }, () => {
  for (const [form, expected] of Object.entries(FORMS)) {
    test(form, (t) => compare(t, form, 'net', expected));
  }
});

describe('servers of every kind', () => {
  for (const kind of ['http', 'https', 'http2', 'http2s', 'tls', 'paused'] as const) {
    test(kind, (t) => compare(t, 'port, callback', kind, {}));
  }
});

describe('async hooks name the same resources', () => {
  for (const form of ['port, callback', 'port, host', 'host name', 'exclusive']) {
    test(form, (t) => compare(t, form, 'net', FORMS[form] as Form, { ASYNC_HOOKS: '1' }));
  }
});
