// SPDX-License-Identifier: Apache-2.0
// autocannon-client PORT CONNECTIONS SECONDS short|keep-alive
import { setTimeout as sleep } from 'node:timers/promises';
import { startAutocannon } from './autocannon';
import { Tally } from './tally';

const [port, connections, seconds, kind] = process.argv.slice(2);

(async () => {
  const tally = new Tally();
  startAutocannon(
    {
      origin: `http://127.0.0.1:${port}`,
      path: '/',
      expected: 'hello',
      connections: Number(connections),
      reconnect: kind === 'short',
      ...(kind === 'short' ? { headers: { Connection: 'close' } } : {}),
    },
    tally,
  );
  await sleep(Number(seconds) * 1000);
  tally.print();
  process.exit();
})();
