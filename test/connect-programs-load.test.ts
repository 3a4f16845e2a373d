// SPDX-License-Identifier: Apache-2.0
// Programs that make connections under load, where strangers hold most of the ports towards the server: a load generator,
// and a proxy with two workers.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type App, fixture, startApp, until } from './support/app';
import { assertChosen, HELD, place } from './support/client-program';
import { connector, type Destination, plainServer } from './support/connector';
import { type Namespace, whyNoNamespaces } from './support/netns';
import { madeBy } from './support/tcp-table';

const HOST = '127.0.0.1';
const PORT = 9001;
const PROXY = 9500;
const options = { skip: whyNoNamespaces() ?? false };

/** So many requests are asked, however long that takes. */
const REQUESTS = 1_000;
const CONNECTIONS = 40;

interface Report {
  errors: number;
  timeouts: number;
  non2xx: number;
  '2xx': number;
}

/** A server, and strangers. */
async function crowded(t: TestContext): Promise<Namespace> {
  const namespace = place(t);
  await plainServer(t, namespace, 'clients/server.js');
  await connector(t, namespace, { hook: false }).open(HELD, { host: HOST, port: PORT });
  return namespace;
}

/** Its report, and what the debug log says at the end. */
async function autocannon(t: TestContext, namespace: Namespace, hook: boolean, ...words: string[]) {
  const load = startApp(require.resolve('autocannon/autocannon.js'), {
    port: 0,
    hook,
    prefix: namespace.prefix,
    args: [
      '--json',
      '--amount',
      `${REQUESTS}`,
      '--connections',
      `${CONNECTIONS}`,
      '--timeout',
      '30',
      ...words,
    ],
  });
  t.after(() => load.stop());
  assert.equal((await load.ended).code, 0, load.stderr);
  const { errors, timeouts, non2xx, '2xx': answered } = JSON.parse(load.stdout) as Report;
  assert.deepEqual({ errors, timeouts, non2xx }, { errors: 0, timeouts: 0, non2xx: 0 });
  return { answered, stderr: load.stderr };
}

/** The last words of each thread on where its connections went (lib/connect/destinations.ts). */
function lastWords(stderr: string): Pick<Destination, 'chosen' | 'byKernel' | 'retries'>[] {
  const words = /connect to 127\.0\.0\.1:9001: .* (\d+) chosen, (\d+) by the kernel, (\d+) retries/g;
  return [...stderr.matchAll(words)].map(([, ...counts]) => {
    const [chosen, byKernel, retries] = counts.map(Number) as [number, number, number];
    return { chosen, byKernel, retries };
  });
}

test(
  'autocannon: connections that are kept, in one thread and in two, and one a request',
  options,
  async (t) => {
    const url = `http://${HOST}:${PORT}/`;
    const counts: number[][] = [];
    for (const hook of [false, true]) {
      const namespace = await crowded(t);
      const answered: number[] = [];
      for (const words of [[url], ['--workers', '2', url], [`${url}last`]]) {
        const report = await autocannon(t, namespace, hook, ...words);
        answered.push(report.answered);
        if (hook) assertChosen(lastWords(report.stderr));
      }
      counts.push(answered);
    }
    assert.deepEqual(counts[0], counts[1]);
    // of connections that the server ends autocannon counts each as a request
    assert.deepEqual(counts[0]?.slice(0, 2), [REQUESTS, REQUESTS]);
  },
);

/** What each worker of the proxy has said last. */
function said(proxy: App): Map<number, Destination[]> {
  const lines = proxy.stdout.split('\n').slice(0, -1);
  const reports = lines.map((line) => JSON.parse(line) as { pid: number; destinations: Destination[] });
  const pids = proxy.workers();
  return new Map(reports.filter(({ pid }) => pids.includes(pid)).map((one) => [one.pid, one.destinations]));
}

for (const keep of [false, true]) {
  test(
    `http-proxy with two workers: ${keep ? 'connections that it keeps' : 'one a request'}`,
    options,
    async (t) => {
      const counts: number[] = [];
      for (const hook of [false, true]) {
        const namespace = await crowded(t);
        const proxy = startApp(fixture('clients/proxy.js'), {
          port: PROXY,
          hook,
          prefix: namespace.prefix,
          env: keep ? { KEEP: '1' } : {},
        });
        t.after(() => proxy.stop());
        await until(() => proxy.stdout.includes('\n'), 'the proxy');
        if (hook) for (const worker of [1, 2]) await proxy.said(new RegExp(`worker ${worker} is ready`));
        counts.push((await autocannon(t, namespace, false, `http://${HOST}:${PROXY}/`)).answered);
        if (!hook) continue;
        let held = -1;
        for (const pid of proxy.workers()) {
          await until(
            async () => {
              held = await madeBy(pid, PORT, namespace.prefix);
              return said(proxy).get(pid)?.[0]?.inUse === held && held > 0 === keep;
            },
            () => `${held} sockets of ${pid} known: ${JSON.stringify([...said(proxy)])}`,
          );
        }
        const states = [...said(proxy).values()].flat();
        t.diagnostic(JSON.stringify(states));
        // a worker whose share strangers hold leaves it to the kernel until it knows: not for longer than all are connected
        assert.ok(states.some(({ chosen }) => chosen > 0));
        for (const { byKernel, retries } of states) {
          assert.ok(byKernel <= CONNECTIONS, JSON.stringify(states));
          assert.ok(retries <= 1.25 * HELD, JSON.stringify(states));
        }
      }
      assert.deepEqual(counts[0], counts[1]);
      if (keep) assert.equal(counts[0], REQUESTS);
    },
  );
}
