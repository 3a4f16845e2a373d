// SPDX-License-Identifier: Apache-2.0
// Apps with several ports, and with several ways of steering: what is done about a blocked worker is done group by group.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredBy, freePort, request } from './support/app';
import { figures, HOST, start, stolen } from './support/balance';

const BLOCK_MS = 60_000;
/** Longer than a worker may be blocked before new connections are steered around it (EXCLUDED_US, and until it is gone). */
const EXCLUDED_MS = 500;

async function connected(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function block(t: TestContext, port: number): Promise<void> {
  const socket = await connected(t, port);
  socket.write(`GET /block?${BLOCK_MS} HTTP/1.1\r\nHost: x\r\n\r\n`);
  await sleep(200);
}

test('what waits at a server with maxConnections, where nobody helps, is no hindrance to the other servers', {
  timeout: 60_000,
}, async (t) => {
  const second = await freePort(HOST);
  const env = { MAX_SECOND: '1000', SECOND: String(second), FASTSOCKET_BALANCE: 'steal' };
  const tree = await start(t, { env });
  await block(t, tree.port);
  // about half of them wait for the blocked worker
  for (let i = 0; i < 12; i++) (await connected(t, second)).write('GET /other HTTP/1.1\r\nHost: x\r\n\r\n');
  await sleep(100);
  const before = await figures(tree);
  for (let i = 0; i < 40; i++) assert.ok(answeredBy(await request(tree.port, '/other', HOST)));
  const now = await figures(tree);
  assert.ok(stolen(now) - stolen(before) > 5, JSON.stringify(now));
  const declined = now.seats.reduce((sum, seat) => sum + seat.declined, 0);
  assert.ok(declined > 0, 'it has been asked for the others, too');
});

test('by the client’s address nobody is steered around, and nobody says so', async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_STEER: 'ip' } });
  await block(t, tree.port);
  // something has come since: the thread looks
  for (let i = 0; i < 4; i++) (await connected(t, tree.port)).write('GET /other HTTP/1.1\r\nHost: x\r\n\r\n');
  await sleep(EXCLUDED_MS);
  const { swaps, blocked } = await figures(tree);
  assert.equal(swaps, 0);
  assert.ok(blocked > 0);
  assert.doesNotMatch(tree.app.stderr, /steered around/);
});
