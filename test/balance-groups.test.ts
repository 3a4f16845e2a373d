// SPDX-License-Identifier: Apache-2.0
// Apps with several ports, and with several ways of steering: what is done about a blocked worker is done group by group.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredBy, freePort, request, until } from './support/app';
import { block, type Figures, figures, HOST, start, stolen } from './support/balance';

/** Longer than a worker may be blocked before new connections are steered around it (EXCLUDED_US, and until it is gone). */
const EXCLUDED_MS = 500;

async function connected(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

test('what waits at a server with maxConnections, where nobody helps, is no hindrance to the other servers', {
  timeout: 60_000,
}, async (t) => {
  const second = await freePort(HOST);
  const env = { MAX_SECOND: '1000', SECOND: String(second), FASTSOCKET_BALANCE: 'steal' };
  const tree = await start(t, { env });
  await block(tree);
  // about half of them wait for the blocked worker
  for (let i = 0; i < 12; i++) (await connected(t, second)).write('GET /other HTTP/1.1\r\nHost: x\r\n\r\n');
  const declined = ({ seats }: Figures) => seats.reduce((sum, seat) => sum + seat.declined, 0);
  await until(async () => declined(await figures(tree)) > 0, 'it is asked for these');
  const before = await figures(tree);
  for (let i = 0; i < 40; i++) assert.ok(answeredBy(await request(tree.port, '/other', HOST)));
  const now = await figures(tree);
  assert.ok(stolen(now) - stolen(before) > 5, JSON.stringify(now));
});

test('by the client’s address nobody is steered around, and nobody says so', async (t) => {
  const tree = await start(t, { env: { FASTSOCKET_STEER: 'ip' } });
  await block(tree);
  // something has come since: the thread looks
  for (let i = 0; i < 4; i++) (await connected(t, tree.port)).write('GET /other HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(async () => (await figures(tree)).blocked > 0, 'it is known to be blocked');
  await sleep(EXCLUDED_MS);
  assert.equal((await figures(tree)).swaps, 0);
  assert.doesNotMatch(tree.app.stderr, /steered around/);
});
