// SPDX-License-Identifier: Apache-2.0
// Short connections to fixtures/balance-app.js, each with a question of its own: what has become of them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HOST } from './balance';

const HUNG_MS = 20_000;

export interface Count {
  made: number;
  answered: number;
  /** Answers to somebody else's question, or two. */
  wrong: number;
  /** Connections that were refused or reset. */
  reset: number;
  hung: number;
  /** Who has answered, by pid. */
  by: Map<number, number>;
}

export const newCount = (): Count => ({
  made: 0,
  answered: 0,
  wrong: 0,
  reset: 0,
  hung: 0,
  by: new Map(),
});

/** One connection with question `id`, noted in `count`. */
export async function ask(port: number, id: number, count: Count): Promise<void> {
  const socket = connect(port, HOST);
  const path = `/id/${id}`;
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('connect', () => {
    count.made++;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  });
  const end = await Promise.race([
    once(socket, 'close').then(
      () => 'closed',
      () => 'reset',
    ),
    sleep(HUNG_MS, 'hung', { ref: false }),
  ]);
  if (end === 'hung') count.hung++;
  else if (end === 'reset' || text === '') count.reset++;
  else if (text.match(/HTTP\/1\.1 200/g)?.length === 1 && text.includes(`=${path}=`)) {
    count.answered++;
    const pid = Number(/^X-Pid: (\d+)\r$/m.exec(text)?.[1]);
    count.by.set(pid, (count.by.get(pid) ?? 0) + 1);
  } else count.wrong++;
  socket.destroy();
}

/** One after the other, up to the first that hangs. */
export async function askInTurn(port: number, times: number, count: Count): Promise<Count> {
  for (let i = 0; i < times && count.hung === 0; i++) await ask(port, count.made, count);
  return count;
}

/** One after the other, until then. */
export async function askUntil(port: number, then: Promise<unknown>): Promise<Count> {
  const count = newCount();
  let going = true;
  const stopped = then.finally(() => {
    going = false;
  });
  stopped.catch(() => {});
  while (going && count.hung === 0) await askInTurn(port, 1, count);
  await stopped;
  return count;
}

/** All at once. */
export function askTogether(port: number, times: number, count: Count): Promise<Count> {
  return Promise.all(Array.from({ length: times }, (_, id) => ask(port, id, count))).then(() => count);
}

export function allAnswered({ by, made, ...rest }: Count, reset = 0): void {
  assert.deepEqual(rest, { answered: made - reset, wrong: 0, reset, hung: 0 });
}
