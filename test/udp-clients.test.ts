// SPDX-License-Identifier: Apache-2.0
// A UDP client on a fixed port has its answers, as in one process of plain Node.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { type ClientRequest, get } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { type App, answering, fixture, freePort, startApp, until } from './support/app';
import { ask } from './support/ask';
import { freeUdpPort } from './support/shared-app';

const HOST = '127.0.0.1';
const REQUESTS = 12;
const REASON =
  /the app runs as plain Node: it sends from UDP port 127\.0\.0\.1:(\d+) before anything has come there/;

/** Sends back what comes. */
async function echo(t: TestContext): Promise<number> {
  const socket = createSocket('udp4');
  socket.on('message', (text, { port, address }) => socket.send(text, port, address));
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  t.after(() => new Promise<void>((resolve) => socket.close(resolve)));
  return socket.address().port;
}

async function startClient(
  t: TestContext,
  options: { hook?: boolean; env?: Record<string, string> },
): Promise<{ app: App; udp: number }> {
  const udp = await freeUdpPort();
  const { hook, env = {} } = options;
  const app = startApp(fixture('udp-client.js'), {
    port: await freePort(HOST),
    env: { UDP: String(udp), ASKED: String(await echo(t)), ...env },
    ...(hook === undefined ? {} : { hook }),
  });
  t.after(() => app.stop());
  return { app, udp };
}

async function allAnswered({ port, pid }: App): Promise<void> {
  const answers = await Promise.all(
    Array.from({ length: REQUESTS }, () => ask<{ pid: number; answered: boolean }>(port, '/')),
  );
  assert.deepEqual(
    answers,
    Array.from({ length: REQUESTS }, () => ({ pid, answered: true })),
  );
}

/** A request that is answered as long as it is not destroyed. */
function hold(port: number): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const request = get({ port, host: HOST, path: '/hold', agent: false });
    request.on('error', reject);
    request.on('response', (response) => {
      response.on('error', () => {});
      response.once('data', () => resolve(request));
    });
  });
}

describe('a UDP client on a fixed port', { concurrency: 2 }, () => {
  test('in plain Node', async (t) => {
    const { app } = await startClient(t, { hook: false });
    await answering(app.port, HOST);
    await allAnswered(app);
  });

  test('that asks before there are copies: none comes to serve', async (t) => {
    const { app, udp } = await startClient(t, { env: { FIRST: '1' } });
    const [, port] = await app.said(REASON);
    assert.equal(Number(port), udp);
    await until(() => app.workers().length === 0, 'the end of the copy');
    await allAnswered(app);
    assert.doesNotMatch(app.stderr, /the copy serves/);
  });

  test('that asks when a copy is asked: the copies go, and take no answers while they have connections', async (t) => {
    const { app } = await startClient(t, {});
    // a request would make it ask
    await app.said(/evenly over 2 workers/);
    const held = await Promise.all(Array.from({ length: 8 }, () => hold(app.port)));
    const release = () => {
      for (const request of held) request.destroy();
    };
    t.after(release);
    await until(async () => {
      await ask(app.port, '/');
      return REASON.test(app.stderr);
    }, 'the reason');
    await until(
      () => ask<{ pid: number }>(app.port, '/').then(({ pid }) => pid === app.pid),
      'the origin serves again',
    );
    assert.ok(app.workers().length > 0, `they have connections:\n${app.stderr}`);
    await allAnswered(app);
    release();
    await until(() => app.workers().length === 0, 'the end of the copies');
  });
});
