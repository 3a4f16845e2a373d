// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';

const LISTEN = '0A';

/** Finished handshakes that nobody has accepted, over all listening sockets of the port (proc(5), /proc/net/tcp rx_queue). */
export function queuedOn(port: number): number {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  let queued = 0;
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(file, 'utf8').split('\n').slice(1)) {
      const [, local = '', , state, queues = ''] = line.trim().split(/\s+/);
      if (state !== LISTEN || !local.endsWith(`:${wanted}`)) continue;
      queued += Number.parseInt(queues.split(':')[1] ?? '0', 16);
    }
  }
  return queued;
}
