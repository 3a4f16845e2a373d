// SPDX-License-Identifier: Apache-2.0
// What an app sees of its connections is what it sees under plain Node: each app runs without and with the hook, under
// the same clients, and tells.
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type App, until } from './support/app';
import { exited } from './support/ending';
import { startOneProcess } from './support/one-process';

const HOST = '127.0.0.1';
const HTTP = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

type Report = Record<string, number & Record<string, number>>;

const start = (t: TestContext, mode: string, hook: boolean, env: Record<string, string> = {}) =>
  startOneProcess(t, 'seam-fidelity.js', { mode, hook, env });

async function reportOf(app: App, hook: boolean): Promise<Report> {
  if (hook) await app.said(/seam: batch, nodelay, read/);
  const reports = () => [...app.stdout.matchAll(/^report (.*)$/gm)];
  const before = reports().length;
  process.kill(app.pid, 'SIGUSR2');
  await until(() => reports().length > before, 'a report');
  return JSON.parse(reports().at(-1)?.[1] as string) as Report;
}

/** What a client received, and how it ended. */
interface Outcome {
  text: string;
  end: string;
}

/** Connects `count` clients at once; `talk` does the client's part. Resolves when all have ended, or have hung. */
async function crowd(
  app: App,
  count: number,
  talk: (socket: Socket) => void,
  options: { allowHalfOpen?: boolean; patienceMs?: number } = {},
): Promise<Outcome[]> {
  const { allowHalfOpen = false, patienceMs = 10_000 } = options;
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect({ port: app.port, host: HOST, allowHalfOpen });
      let text = '';
      let error = 'ended';
      socket.on('data', (data) => {
        text += data;
      });
      socket.on('error', ({ code }: NodeJS.ErrnoException) => {
        error = code as string;
      });
      const closed = new Promise((resolve) => socket.on('close', () => resolve(error)));
      socket.on('connect', () => talk(socket));
      const end = (await Promise.race([closed, sleep(patienceMs, 'hung', { ref: false })])) as string;
      socket.destroy();
      return { text, end };
    }),
  );
}

const tally = (values: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
};
const told = (outcomes: readonly Outcome[]) => tally(outcomes.map(({ text, end }) => `${end}: ${text}`));
const ends = (outcomes: readonly Outcome[]) => tally(outcomes.map(({ end }) => end));

/** Without and with the hook. */
async function both<T>(f: (hook: boolean) => Promise<T>): Promise<{ plain: T; hook: T }> {
  return { plain: await f(false), hook: await f(true) };
}

test("'connection', ticks, promises, setImmediate, 'request' come in their order", async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'order', on);
    const outcomes = await crowd(app, 300, (socket) => socket.write(HTTP));
    assert.deepEqual(ends(outcomes), { ended: 300 });
    return reportOf(app, on);
  });
  assert.deepEqual(hook, plain);
  assert.deepEqual(Object.keys(plain['sequences'] as object), [
    'connection, tick, promise, immediate, request, request tick',
  ]);
});

test('connections and requests run in their async contexts, and make the same resources', async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'contexts', on);
    const outcomes = await crowd(app, 100, (socket) => socket.write(HTTP));
    assert.deepEqual(ends(outcomes), { ended: 100 });
    return reportOf(app, on);
  });
  t.diagnostic(JSON.stringify(plain));
  assert.deepEqual(hook, plain);
});

test('connections that the app destroys at once or a few turns later', async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'destroyed', on);
    const outcomes = await crowd(app, 400, (socket) => socket.write('x'));
    const { destroyed, served } = await reportOf(app, on);
    assert.equal(outcomes.filter(({ text }) => text.startsWith('hello')).length, served);
    assert.equal(ends(outcomes)['hung'], undefined);
    return { destroyed, served };
  });
  assert.deepEqual(hook, plain);
});

test("'connection' that throws: the others are served", async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'throwing', on);
    const outcomes = await crowd(app, 99, (socket) => socket.write('x'));
    assert.deepEqual(ends(outcomes), { ended: 99 });
    return reportOf(app, on);
  });
  assert.deepEqual(hook, plain);
  assert.equal(plain['caught'], 33);
});

describe('paused connections', () => {
  for (const [name, env, count] of [
    ['within or after the callback', {}, 200],
    ['by pauseOnConnect, 600 at once', { PAUSE_ON_CONNECT: '1' }, 600],
  ] as const) {
    test(name, async (t) => {
      const { plain, hook } = await both(async (on) => {
        const app = await start(t, 'paused', on, env);
        const outcomes = await crowd(app, count, (socket) => socket.end('x'.repeat(1_000)), {
          allowHalfOpen: true,
        });
        assert.deepEqual(told(outcomes), { 'ended: hello 1000': count });
        return reportOf(app, on);
      });
      // a connection that is paused some turns after it has come may have been read before
      assert.deepEqual(hook['bytes'], plain['bytes']);
      assert.equal(hook['early'], 0);
      assert.equal(plain['early'], 0);
    });
  }
});

test("maxConnections and 'drop'", async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'dropped', on);
    const outcomes = await crowd(app, 60, (socket) => socket.write('x'), { patienceMs: 1_500 });
    const report = await reportOf(app, on);
    return {
      report,
      answered: outcomes.filter(({ text }) => text === 'hello').length,
      hung: ends(outcomes)['hung'],
    };
  });
  assert.deepEqual(hook, plain);
  assert.equal(plain.answered, 5);
  assert.equal(plain.hung, 5);
});

test('half-closed connections: both directions, either first', async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'halfClosed', on);
    const outcomes = await crowd(
      app,
      100,
      (socket) => {
        socket.write('y');
        setTimeout(() => socket.end('y'.repeat(9_999)), 30);
      },
      { allowHalfOpen: true },
    );
    const lengths = tally(outcomes.map(({ text, end }) => `${end} ${text.length}`));
    return { lengths, report: await reportOf(app, on) };
  });
  assert.deepEqual(hook, plain);
  assert.deepEqual(plain.lengths, { 'ended 5': 50, 'ended 100000': 50 });
  assert.deepEqual(plain.report['bytes'], { 10000: 100 });
});

test('an upload that is answered early: the client has the answer, and no ECONNRESET', async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'refused', on);
    const outcomes: Outcome[] = [];
    for (let round = 0; round < 10; round++)
      outcomes.push(
        ...(await crowd(app, 20, (socket) => {
          socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n${'z'.repeat(16_384)}`);
          setTimeout(() => socket.writable && socket.write('z'.repeat(16_384)), 2);
        })),
      );
    return { ...ends(outcomes), answered: outcomes.filter(({ text }) => text.includes(' 413 ')).length };
  });
  t.diagnostic(JSON.stringify({ plain, hook }));
  assert.deepEqual(hook, { ended: 200, answered: 200 });
});

test('connections that are reset before anything is read', async (t) => {
  const { plain, hook } = await both(async (on) => {
    const app = await start(t, 'reset', on);
    await crowd(app, 200, (socket) => socket.resetAndDestroy());
    await until(
      async () => Object.values((await reportOf(app, on))['ends'] ?? {}).reduce((a, b) => a + b, 0) >= 200,
      '200 ends',
    );
    return reportOf(app, on);
  });
  t.diagnostic(JSON.stringify(plain));
  assert.deepEqual(hook, plain);
});

test("a server that is closed within 'connection': nobody hangs, and the process ends", async (t) => {
  await both(async (on) => {
    const app = await start(t, 'closed', on);
    const outcomes = await crowd(app, 100, (socket) => socket.write('x'));
    assert.equal(ends(outcomes)['hung'], undefined);
    assert.ok((told(outcomes)['ended: hello'] ?? 0) >= 3);
    assert.deepEqual(await exited(app), { code: 0, signal: null });
    await app.ended;
    assert.ok(app.stdout.includes('closed'));
  });
});

test("an unref'ed server with unref'ed connections does not keep the process", async (t) => {
  await both(async (on) => {
    const app = await start(t, 'unref', on);
    const outcomes = await crowd(app, 40, () => {}, { patienceMs: 5_000 });
    assert.equal(ends(outcomes)['hung'], undefined);
    assert.deepEqual(await exited(app), { code: 0, signal: null });
  });
});

test('connections handed to another process as soon as they come', async (t) => {
  await both(async (on) => {
    const app = await start(t, 'passed', on);
    const outcomes = await crowd(app, 100, (socket) => socket.write('x'));
    assert.deepEqual(told(outcomes), { 'ended: hello from the child': 100 });
  });
});
