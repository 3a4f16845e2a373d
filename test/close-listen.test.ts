// SPDX-License-Identifier: Apache-2.0
// Listeners that come, go and come back.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import {
  type App,
  type AppOptions,
  fixture,
  freePort,
  lives,
  multiplied,
  startApp,
  until,
} from './support/app';
import { whoAnswers } from './support/clients';
import { exited, noneLeft, untilPortFree } from './support/ending';
import { Ledger } from './support/ledger';
import { steady } from './support/steady';

interface Address {
  port: number;
  host: string;
}

interface Started {
  app: App;
  ledger: Ledger;
}

function start(
  t: TestContext,
  addresses: Address[],
  env: Record<string, string> = {},
  options: AppOptions = {},
): Started {
  const ledger = new Ledger();
  const port = addresses[0]?.port as number;
  const app = startApp(fixture('listeners.js'), {
    port,
    ...options,
    env: { LEDGER: ledger.path, ADDRESSES: JSON.stringify(addresses), ...env },
  });
  t.after(() => app.stop());
  return { app, ledger };
}

const loopback = async (): Promise<Address> => ({ port: await freePort('::'), host: '127.0.0.1' });

/** Until each of these processes has answered on this address. */
async function allAnswer(address: Address, pids: number[]): Promise<void> {
  const silent = new Set(pids);
  await until(
    async () => {
      const pid = await whoAnswers('http', address);
      silent.delete(pid);
      return silent.size === 0;
    },
    `answers of ${[...silent]} on ${address.host}:${address.port}`,
  );
}

describe('several listeners', () => {
  test('eight addresses: each worker serves on each', async (t) => {
    const port = await freePort('::');
    const addresses = [1, 2, 3, 4].map((n) => ({ port, host: `127.0.0.${n}` }));
    for (let i = 0; i < 4; i++) addresses.push(await loopback());
    const { app } = start(t, addresses);
    const workers = await multiplied(app, 2, '127.0.0.1');
    for (const address of addresses) await allAnswer(address, workers);
  });

  test('one port on two addresses', async (t) => {
    const port = await freePort('::');
    const addresses = [
      { port, host: '127.0.0.1' },
      { port, host: '::1' },
    ];
    const { app } = start(t, addresses);
    const workers = await multiplied(app, 2, '127.0.0.1');
    for (const address of addresses) await allAnswer(address, workers);
  });

  for (const [when, ms] of [
    ['while the copy starts', 180],
    ['long after the workers have come', 1_500],
  ] as const) {
    test(`one more, ${when}`, async (t) => {
      const [first, later] = [await loopback(), await loopback()];
      const { app } = start(t, [first], { LATER: JSON.stringify([later]), LATER_MS: String(ms) });
      const workers = await multiplied(app, 2, '127.0.0.1');
      await allAnswer(first, workers);
      await until(
        () => app.stderr.match(new RegExp(`is ready on 4\\|127.0.0.1\\|${later.port}`, 'g'))?.length === 2,
        'two workers on the second port',
      );
      await allAnswer(later, workers);
      assert.deepEqual(app.workers(), workers);
    });
  }

  test('one of two closes, the other goes on', async (t) => {
    const addresses = [await loopback(), await loopback()] as [Address, Address];
    const { app, ledger } = start(t, addresses, { ON_USR1: 'close' });
    const workers = await multiplied(app, 2, '127.0.0.1');
    const load = steady(t, 'http', addresses[1]);
    process.kill(app.pid, 'SIGUSR1');
    await until(() => ledger.count('closed', app.pid) === 1, 'closed');
    await untilPortFree(addresses[0].port);
    for (const pid of [app.pid, ...workers])
      assert.equal(ledger.count('close', pid), 1, 'each process has closed its own');
    await allAnswer(addresses[1], workers);
    const { by, failed } = await load.stop();
    assert.deepEqual(failed, []);
    assert.ok(by.size > 0);
    assert.deepEqual(app.workers(), workers);
  });
});

// most of the time of each is waiting
describe('a listener comes back in the origin', { concurrency: 2 }, () => {
  for (const action of [
    'close and listen',
    'listen when closed',
    'another server',
    'another server when closed',
  ]) {
    for (const keep of ['', '1']) {
      test(`${action}${keep && ', workers that have something else to do'}`, async (t) => {
        const address = await loopback();
        const { app, ledger } = start(t, [address], { ON_USR1: action, KEEP: keep });
        const before = await multiplied(app, 2, '127.0.0.1');
        const load = steady(t, 'http', address, 4);
        await until(() => load.by.size === 2, 'answers of both workers');
        process.kill(app.pid, 'SIGUSR1');
        await until(
          () => ledger.count('closed', app.pid) === 1 && ledger.count('listening', app.pid) === 2,
          'closed, and listening again',
        );
        const answered = await whoAnswers('http', address);
        // at once, not only when the old copies have made way
        if (keep) assert.deepEqual([answered, before.filter(lives)], [app.pid, before]);
        for (const pid of before)
          await until(() => ledger.count('close', pid) === 1, 'the workers have closed');
        // a copy serves what a fresh start of the app serves: the old ones are of no use
        const after = await until(() => {
          const workers = app
            .workers()
            .filter((pid) => ledger.count('listening', pid) > ledger.count('close', pid));
          return workers.length === 2 ? workers : undefined;
        }, `two workers that serve again:\n${app.stderr}`);
        await allAnswer(address, after);
        const { failed } = await load.stop();
        // where the callback listens again, nobody listens for a moment, as in plain Node
        const refused = action.endsWith('when closed')
          ? failed.filter((what) => /ECONNREFUSED/.test(what))
          : [];
        assert.deepEqual(failed, refused);
      });
    }
  }
});

for (const [from, to] of [
  ['127.0.0.1', '0.0.0.0'],
  ['0.0.0.0', '127.0.0.1'],
  ['127.0.0.1', '::'],
] as const) {
  test(`the port moves from ${from} to ${to} in one tick`, async (t) => {
    const address = { ...(await loopback()), host: from };
    const { app, ledger } = start(t, [address], { ON_USR2: 'another address', TO: to });
    const workers = await multiplied(app, 2, '127.0.0.1');
    process.kill(app.pid, 'SIGUSR2');
    await until(
      () => [app.pid, ...workers].every((pid) => ledger.count('listening', pid) === 2),
      () => `all listen on ${to}:\n${app.stderr}`,
    );
    const reached = { ...address, host: '127.0.0.1' };
    await allAnswer(reached, workers);
  });
}

test('a listener comes back when all workers have gone', async (t) => {
  const address = await loopback();
  const { app, ledger } = start(t, [address], { ON_USR1: 'listen much later', KEEP: '' });
  const before = await multiplied(app, 2, '127.0.0.1');
  process.kill(app.pid, 'SIGUSR1');
  await noneLeft(before);
  assert.deepEqual(app.workers(), []);
  await until(() => ledger.count('listening', app.pid) === 2, 'listening again');
  const after = await until(() => {
    const pids = app.workers().filter((pid) => ledger.count('listening', pid) === 1);
    return pids.length === 2 ? pids : undefined;
  }, `two new workers:\n${app.stderr}`);
  await allAnswer(address, after);
});

describe('before there is a worker', () => {
  for (const action of [
    'close and listen',
    'listen when closed',
    'another server',
    'another server when closed',
  ]) {
    test(`${action} while the copy starts`, async (t) => {
      const address = await loopback();
      const { app, ledger } = start(t, [address], { ON_COPY: action });
      await until(() => ledger.count('listening', app.pid) === 2, 'listening again');
      const workers = await until(() => {
        const pids = app.workers().filter((pid) => ledger.count('listening', pid) === 1);
        return pids.length === 2 ? pids : undefined;
      }, `two workers:\n${app.stderr}`);
      await allAnswer(address, workers);
    });
  }

  test('close while the copy starts: the end is that of plain Node', async (t) => {
    const address = await loopback();
    const { app, ledger } = start(t, [address], { ON_COPY: 'close' });
    assert.deepEqual(await exited(app), { code: 0, signal: null });
    await untilPortFree(address.port);
    assert.deepEqual(ledger.of(app.pid), [`port ${address.port}`, 'listening', 'close', 'closed', 'exit 0']);
    await noneLeft(ledger.entries.map(({ pid }) => pid));
  });
});

describe('libraries that look for a free port', () => {
  for (const by of ['get-port', 'detect-port']) {
    test(by, async (t) => {
      const address = await loopback();
      const { app, ledger } = start(t, [address], { BY: by });
      await until(() => ledger.of(app.pid).includes('listening'), 'listening');
      assert.equal(ledger.of(app.pid)[0], `port ${address.port}`);
      const workers = await multiplied(app, 2, '127.0.0.1');
      await allAnswer(address, workers);
      for (const pid of workers) assert.equal(ledger.of(pid)[0], `port ${address.port}`);
    });

    test(`${by}, the port is taken`, async (t) => {
      const address = await loopback();
      const holder = createServer((socket) => socket.destroy());
      await new Promise<void>((resolve) => holder.listen({ port: address.port, exclusive: true }, resolve));
      t.after(() => holder.close());
      const { app, ledger } = start(t, [address], { BY: by });
      await until(() => ledger.of(app.pid).includes('listening'), 'listening');
      const port = Number(ledger.of(app.pid)[0]?.slice(5));
      assert.notEqual(port, address.port);
      assert.equal(await whoAnswers('http', { port, host: '127.0.0.1' }), app.pid);
    });
  }
});

describe('the process ends by itself', () => {
  test('when its only server has closed: no worker outlives it', async (t) => {
    const address = await loopback();
    const { app, ledger } = start(t, [address], { ON_USR1: 'close' });
    const workers = await multiplied(app, 2, '127.0.0.1');
    process.kill(app.pid, 'SIGUSR1');
    assert.deepEqual(await exited(app), { code: 0, signal: null });
    await untilPortFree(address.port);
    await noneLeft(workers);
    assert.deepEqual(ledger.of(app.pid), [`port ${address.port}`, 'listening', 'close', 'closed', 'exit 0']);
  });

  test('when its servers are unreferenced, as plain Node does', async (t) => {
    const address = await loopback();
    for (const hook of [false, true]) {
      const { app, ledger } = start(t, [address], { ON_USR1: 'unref' }, { hook });
      await until(() => ledger.of(app.pid).includes('listening'), 'listening');
      const workers = hook ? await multiplied(app, 2, '127.0.0.1') : [];
      process.kill(app.pid, 'SIGUSR1');
      assert.deepEqual(await exited(app), { code: 0, signal: null });
      assert.ok(!ledger.of(app.pid).includes('close'));
      await noneLeft(workers);
    }
  });

  test('when its server is unreferenced from the beginning: no copy is left', async (t) => {
    const address = await loopback();
    const { app, ledger } = start(t, [address], { ON_COPY: 'unref' });
    assert.deepEqual(await exited(app), { code: 0, signal: null });
    await noneLeft(ledger.entries.map(({ pid }) => pid).filter(lives));
  });
});
