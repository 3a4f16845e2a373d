// SPDX-License-Identifier: Apache-2.0
// Short connections to fixtures/balance-app.js, each with a question of its own: what has become of them.
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
