// SPDX-License-Identifier: Apache-2.0
// echo-client PORT CONNECTIONS SECONDS: WebSockets that each send a message, wait for its echo, and send the next.
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Tally } from './tally';

const [port, connections, seconds] = process.argv.slice(2);
const MESSAGE = Buffer.alloc(64, 'x');

function begin(tally: Tally): void {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false });
  socket.on('open', () => socket.send(MESSAGE));
  socket.on('message', (data: Buffer) => {
    if (MESSAGE.equals(data)) tally.answer();
    else tally.fail(`echo of ${data.length} bytes`);
    socket.send(MESSAGE);
  });
  socket.on('error', (error) => tally.fail(error.message));
  socket.on('close', () => tally.fail('closed by the server'));
}

(async () => {
  const tally = new Tally();
  for (let i = Number(connections); i > 0; i--) begin(tally);
  await sleep(Number(seconds) * 1000);
  tally.print();
  process.exit();
})();
