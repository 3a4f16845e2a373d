// SPDX-License-Identifier: Apache-2.0
// Nothing is left of connections that have gone, however they went. The million is npm run bench:soak.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choosePlace } from '../bench/lib/place';
import { endWithEverything } from '../bench/lib/processes';
import { programPath } from '../bench/lib/programs';
import { soak } from '../bench/soak/soak';

const missing = ['taskset', 'setpriv', 'cc'].filter((name) => !programPath(name));
endWithEverything(() => {});

test('descriptors, the handle cache and what is held back are as before', {
  skip: missing.length > 0 && `${missing.join(', ')} not installed`,
}, async (t) => {
  const options = { nodes: [process.execPath], connections: 20_000, rude: 2_000, hook: true };
  const [first, ...phases] = await soak(choosePlace(), process.execPath, options);
  assert.ok(first && phases.length >= 6);
  const { fds, known, held } = first.held;
  for (const { name, connections, failed, held: now } of phases) {
    t.diagnostic(`${name}: ${connections} connections, RSS ${(now.rss / 2 ** 20).toFixed(0)} MiB`);
    assert.equal(failed, 0, name);
    assert.deepEqual({ fds: now.fds, known: now.known, held: now.held }, { fds, known, held }, name);
  }
  assert.ok((phases.at(-1)?.held.accepted ?? 0) >= 30_000);
});
