// SPDX-License-Identifier: Apache-2.0
// More than the workers can do: nothing to steal, nobody to steer to, and the origin stays out of it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answeredBy } from './support/app';
import { figures, HOST, start } from './support/balance';

const HANDLER_MS = 10;
const WORKERS = 2;
/** Of what two CPUs that have nothing else to do could. */
const LOAD = 1.2;
const SECONDS = 10;

test('handlers of 10 ms at 120 % of what the workers can do', async (t) => {
  const tree = await start(t, {}, WORKERS);
  const before = await figures(tree);
  const everyMs = HANDLER_MS / WORKERS / LOAD;
  const by = new Map<number | undefined, number>();
  const open: Promise<void>[] = [];
  const began = performance.now();
  for (let sent = 0; sent * everyMs < SECONDS * 1_000; sent++) {
    await sleep(Math.max(0, began + sent * everyMs - performance.now()));
    open.push(
      new Promise((resolve) => {
        let text = '';
        const socket = connect(tree.port, HOST, () =>
          socket.write(`GET /block?${HANDLER_MS} HTTP/1.1\r\nHost: x\r\n\r\n`),
        );
        socket.on('data', (data) => {
          text += data;
        });
        socket.on('error', () => {});
        socket.on('close', () => {
          const pid = answeredBy(text);
          by.set(pid, (by.get(pid) ?? 0) + 1);
          resolve();
        });
      }),
    );
  }
  // now, and not when all that waits has been served: a worker that has served its own helps the other, which is no dance
  const now = await figures(tree);
  const swaps = now.swaps - before.swaps;
  await Promise.all(open);
  t.diagnostic(`${[...by.values()]} answered, ${swaps} swaps`);
  assert.deepEqual(
    [...by.keys()].sort(),
    [...tree.workers].sort(),
    'by the workers alone, and nobody is lost',
  );
  // without the rules hundreds
  assert.ok(swaps <= 20, `${swaps} swaps`);
});
