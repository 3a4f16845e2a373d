// SPDX-License-Identifier: Apache-2.0
// A listen() that fails, fails as in plain Node: code, errno, syscall, address, port, message, order of events.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import {
  type App,
  type AppOptions,
  answering,
  fixture,
  freePort,
  multiplied,
  startApp,
  until,
} from './support/app';
import { whoAnswers } from './support/clients';
import { Ledger } from './support/ledger';

interface Listen {
  port: number;
  host?: string;
}

interface Started {
  app: App;
  ledger: Ledger;
}

function start(t: TestContext, listens: Listen[], options: AppOptions = {}): Started {
  const ledger = new Ledger();
  const env = { ...options.env, LEDGER: ledger.path, LISTEN: JSON.stringify(listens) };
  const app = startApp(fixture('listen-errors.js'), { ...options, port: listens[0]?.port ?? 0, env });
  t.after(() => app.stop());
  return { app, ledger };
}

/** What an app noted that did not come to listen, or that listens on some of its addresses, in order. */
async function noted(t: TestContext, listens: Listen[], options: AppOptions = {}): Promise<string[]> {
  const { app, ledger } = start(t, listens, options);
  const lines = () => ledger.of(app.pid);
  await until(() => lines().includes('done') && lines().includes('immediate'), 'all listens done');
  assert.equal(app.stdout, '');
  await app.stop();
  return lines();
}

/** The same with and without the hook, in the order in which an app sees it. */
async function same(
  t: TestContext,
  listens: Listen[],
  code: string,
  options: AppOptions = {},
): Promise<string[]> {
  const plain = await noted(t, listens, { ...options, hook: false });
  assert.ok(
    plain.some((line) => line.includes(`"code":"${code}"`)),
    plain.join('\n'),
  );
  assert.deepEqual(await noted(t, listens, options), plain);
  return plain;
}

/** A listener of this process, which has no hook. */
async function foreign(t: TestContext, port: number, host?: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen({ port, host, exclusive: true }, resolve),
  );
  t.after(() => server.close());
  return server;
}

/** Where the holder listens, where the other one tries. */
const OVERLAPS: [string | undefined, string | undefined][] = [
  [undefined, undefined],
  ['127.0.0.1', '127.0.0.1'],
  ['0.0.0.0', '127.0.0.1'],
  ['127.0.0.1', '0.0.0.0'],
  [undefined, '0.0.0.0'],
  ['0.0.0.0', undefined],
  ['::1', '::1'],
  ['::', '::1'],
];

const where = (host: string | undefined): string => host ?? 'no host';

// most of the time of each is waiting
describe('a second instance on the same port', { concurrency: 2 }, () => {
  for (const [held, wanted] of OVERLAPS) {
    test(`${where(wanted)} while an app has ${where(held)}`, async (t) => {
      const port = await freePort('::');
      const listens = [{ port, ...(wanted === undefined ? {} : { host: wanted }) }];
      const holder = [{ port, ...(held === undefined ? {} : { host: held }) }];
      const first = start(t, holder, { hook: false });
      await until(() => first.ledger.of(first.app.pid).includes('done'), 'the first instance listens');
      const expected = await noted(t, listens, { hook: false });
      assert.match(expected.join('\n'), /"code":"EADDRINUSE"/);
      await first.app.stop();

      const { app } = start(t, holder);
      const host = held?.includes(':') ? '::1' : '127.0.0.1';
      await answering(port, host);
      assert.deepEqual(await noted(t, listens), expected, 'while the first instance is one process');
      await multiplied(app, 2, host);
      assert.deepEqual(await noted(t, listens), expected, 'while the first instance has workers');
      assert.deepEqual(await noted(t, listens, { hook: false }), expected, 'without the hook in the second');
      assert.equal(app.workers().length, 2);
      assert.ok(app.workers().includes(await whoAnswers('net', { port, host })));
    });
  }
});

describe('a port that is held by a program without the hook', () => {
  for (const [held, wanted] of OVERLAPS.slice(0, 4)) {
    test(`${where(wanted)} while it has ${where(held)}`, async (t) => {
      const port = await freePort('::');
      await foreign(t, port, held);
      await same(t, [{ port, ...(wanted === undefined ? {} : { host: wanted }) }], 'EADDRINUSE');
    });
  }

  test('without an error listener: the same stack, the same exit code', async (t) => {
    const port = await freePort('::');
    await foreign(t, port);
    const ends = [];
    for (const hook of [false, true]) {
      const { app } = start(t, [{ port }], { hook, env: { UNHANDLED: '1', NODE_DEBUG: '' } });
      ends.push({ ...(await app.ended), stderr: app.stderr, stdout: app.stdout });
    }
    assert.equal(ends[0]?.code, 1);
    assert.match(ends[0]?.stderr ?? '', /EADDRINUSE/);
    assert.deepEqual(ends[1], ends[0]);
  });

  test('an app that goes on to the next port is multiplied there', async (t) => {
    const [taken, port] = [await freePort('::'), await freePort('::')];
    await foreign(t, taken);
    const env = { RETRY: JSON.stringify([port]) };
    const plain = await noted(t, [{ port: taken }], { hook: false, env });
    const { app, ledger } = start(t, [{ port: taken }], { env });
    const workers = await multiplied(app, 2).catch(() => app.workers());
    for (const pid of [app.pid, ...workers]) assert.deepEqual(ledger.of(pid).sort(), [...plain].sort());
    assert.equal(workers.length, 2);
  });
});

describe('an address that the app itself has', () => {
  for (const host of [undefined, '127.0.0.1', '::1']) {
    test(`twice ${where(host)}`, async (t) => {
      const port = await freePort('::');
      const listen = { port, ...(host === undefined ? {} : { host }) };
      const listens = [listen, listen, { port: await freePort('::') }];
      const expected = await same(t, listens, 'EADDRINUSE');
      const { app, ledger } = start(t, listens);
      const workers = await multiplied(app, 2, host ?? '127.0.0.1');
      for (const pid of workers) {
        await until(() => ledger.of(pid).includes('done'), 'all listens done in a worker');
        assert.deepEqual(ledger.of(pid), expected, 'a worker');
      }
      assert.equal(workers.length, 2);
    });
  }
});

describe('addresses that nobody may have', () => {
  test('EADDRNOTAVAIL', async (t) => {
    await same(t, [{ port: await freePort(), host: '192.0.2.1' }], 'EADDRNOTAVAIL');
    await same(t, [{ port: await freePort(), host: '2001:db8::1' }], 'EADDRNOTAVAIL');
  });

  test('a host without an address', async (t) => {
    const listens = [{ port: await freePort(), host: 'no-such-host.invalid' }];
    // the answer of the DNS server has no fixed place; without a DNS server it is EAI_AGAIN
    const outcomes = async (hook: boolean) =>
      (await noted(t, listens, { hook })).filter((line) => line.startsWith('{'));
    const [plain] = await outcomes(false);
    assert.match(plain ?? '', /"code":"(ENOTFOUND|EAI_AGAIN)".*"hostname":"no-such-host.invalid"/);
    assert.deepEqual(await outcomes(true), [plain]);
  });

  const forbidden = process.getuid?.() === 0 ? {} : { skip: 'needs root, to become somebody else' };
  test('EACCES', forbidden, async (t) => {
    for (const host of [undefined, '127.0.0.1']) {
      const listens = [{ port: await freePrivilegedPort(), ...(host === undefined ? {} : { host }) }];
      await same(t, listens, 'EACCES', { env: { SETUID: '65534' } });
    }
  });

  test('the app goes on, and is multiplied on what it gets', async (t) => {
    const listens = [{ port: await freePort(), host: '192.0.2.1' }, { port: await freePort('::') }];
    const expected = await same(t, listens, 'EADDRNOTAVAIL');
    const { app, ledger } = start(t, listens);
    await until(() => /worker 1 is ready.*worker 2 is ready/s.test(app.stderr), 'two workers');
    for (const pid of app.workers()) assert.deepEqual(ledger.of(pid), expected);
  });
});

/** A port below 1024 on which nobody listens. */
async function freePrivilegedPort(): Promise<number> {
  for (let port = 1023; port > 900; port--) {
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen({ port, exclusive: true }, () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error('no port below 1024 is free');
}
