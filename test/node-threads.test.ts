// SPDX-License-Identifier: Apache-2.0
// Servers in worker threads are Node's affair: they listen, fail and answer as without the hook, beside the main thread's.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type App, answering, fixture, freePort, multiplied, request, startApp, until } from './support/app';

const HOST = '127.0.0.1';

interface Run {
  app: App;
  ports: [number, number];
}

async function start(t: TestContext, mode: string, hook: boolean): Promise<Run> {
  const ports: [number, number] = [await freePort(HOST), await freePort(HOST)];
  const app = startApp(fixture('threads-listen.js'), {
    port: ports[0],
    hook,
    env: { HOST, MODE: mode, PORTS: ports.join(' ') },
  });
  t.after(() => app.stop());
  return { app, ports };
}

/** What the process that was started has said. */
const said = ({ stdout, pid }: App): string[] =>
  stdout.split('\n').flatMap((line) => (line.startsWith(`${pid} `) ? [line.slice(`${pid} `.length)] : []));

const body = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4).trim();
const whose = (answer: string): number => Number(/^X-Pid: (\d+)/im.exec(answer)?.[1]);

/** Twelve answers on that port: their text, and the processes that gave them. */
async function asked(port: number): Promise<{ texts: string[]; pids: number[] }> {
  const answers = await Promise.all(Array.from({ length: 12 }, () => request(port, '/', HOST)));
  const unique = <T>(list: T[]): T[] => [...new Set(list)].sort();
  return { texts: unique(answers.map(body)), pids: unique(answers.map(whose)) };
}

interface Mode {
  lines: number;
  /** Who answers on each port; the main thread's are multiplied where there are workers. */
  multiplied: boolean;
  second: boolean;
}

const MODES: Record<string, Mode> = {
  'the thread alone': { lines: 1, multiplied: false, second: false },
  'two threads': { lines: 2, multiplied: false, second: true },
  'the main thread, then a thread on the same port': { lines: 2, multiplied: true, second: false },
  'a thread, then the main thread on the same port': { lines: 2, multiplied: false, second: false },
  'each its own port': { lines: 2, multiplied: true, second: true },
};

for (const [mode, { lines, multiplied: several, second }] of Object.entries(MODES)) {
  test(mode, async (t) => {
    const runs = { plain: await start(t, mode, false), hooked: await start(t, mode, true) };
    const outcome = async ({ app, ports }: Run) => {
      await until(
        () => said(app).length >= lines,
        () => `${lines} lines:\n${app.stdout}\n${app.stderr}`,
      );
      await answering(ports[0], HOST);
      const { texts } = await asked(ports[0]);
      return { said: said(app), texts, second: second ? (await asked(ports[1])).texts : [] };
    };
    const { app, ports } = runs.hooked;
    const groups = () => app.stderr.match(/: listener group \S+: \d+ sockets/g)?.length ?? 0;
    assert.deepEqual(await outcome(runs.hooked), await outcome(runs.plain));
    // said by listen() itself
    assert.equal(groups(), several ? 1 : 0, app.stderr);
    if (several) {
      const workers = await multiplied(app, 2, HOST);
      const { texts, pids } = await asked(ports[0]);
      assert.deepEqual(texts, ['main']);
      assert.ok(!pids.includes(app.pid), 'the origin stands by');
      assert.deepEqual(app.workers(), workers);
    }
    // threads serve where they are, whatever becomes of the main thread's port
    if (second) assert.deepEqual((await asked(ports[1])).pids, [app.pid]);
    if (!several) assert.deepEqual((await asked(ports[0])).pids, [app.pid]);
    assert.doesNotMatch(app.stderr, /^fastsocket: /m);
  });
}
