// SPDX-License-Identifier: Apache-2.0
// A connection that is stolen from a worker's queue comes to the thief's server as its own do, whatever kind of server that
// is, in copies of the app and in workers that the app has forked itself.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { addonPath } from './support/addon';
import { type App, fixture, freePort, request, startApp, until } from './support/app';
import { figures, HOST, stolen } from './support/balance';
import { goOn, STEAL } from './support/scene';
import { standStill } from './support/tcp-table';

const COUNT = 40;

interface Told {
  pid: number;
  word: string;
  come: unknown[];
}

/** How each kind is asked for one word. */
const asks: Record<string, (port: number, word: string) => Promise<string>> = {
  http: async (port, word) => /\{.*\}/.exec(await request(port, `/${word}`, HOST))?.[0] ?? '',
  tls: async (port, word) => {
    const socket = connectTls({ port, host: HOST, servername: 'localhost', rejectUnauthorized: false });
    socket.on('secureConnect', () => socket.write(word));
    return all(socket);
  },
  paused: async (port, word) => {
    // its FIN comes before the answer
    const socket = connect(port, HOST, () => socket.end(word));
    return all(socket);
  },
};

const comes: Record<string, unknown[]> = { http: [true], tls: [true, 'localhost'], paused: [0, ''] };

async function all(socket: ReturnType<typeof connect>): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (more) => {
    text += more;
  });
  await once(socket, 'close');
  return text;
}

async function start(t: TestContext, kind: string, own: boolean): Promise<App> {
  const port = await freePort(HOST);
  const app = startApp(fixture('balance-servers.js'), {
    port,
    env: { ...STEAL, ADDON: addonPath(), KIND: kind, ...(own ? { FORKS: '2' } : {}) },
  });
  // one that stands still would outlive the app
  t.after(() => app.workers().forEach(goOn));
  t.after(() => app.stop());
  const serving = own ? /worker (\d+) serves \S+ from socket/g : /worker (\d+) is ready/g;
  await until(
    () => new Set([...app.stderr.matchAll(serving)].map(([, index]) => index)).size === 2,
    () => `two workers that serve:\n${app.stderr}`,
    30_000,
  );
  // nobody helps one whose loop has told nothing of itself yet
  await until(
    async () => (await figures({ app })).seats.filter(({ joined }) => joined === 1).length === 2,
    'two workers with a part in the balancing',
  );
  return app;
}

for (const own of [false, true])
  describe(own ? 'workers that the app has forked' : 'copies', () => {
    for (const [kind, ask] of Object.entries(asks))
      test(kind, { timeout: 60_000 }, async (t) => {
        const app = await start(t, kind, own);
        const [victim, thief] = app.workers() as [number, number];
        await standStill(victim);
        const words = Array.from({ length: COUNT }, (_, i) => `word-${i}`);
        const answers = await Promise.all(words.map((word) => ask(app.port, word)));
        assert.deepEqual(
          answers.map((answer) => JSON.parse(answer) as Told),
          words.map((word) => ({ pid: thief, word, come: comes[kind] })),
        );
        assert.ok(stolen(await figures({ app })) > 0, 'some were the other one’s');
      });
  });
