// SPDX-License-Identifier: Apache-2.0
// A signal that the app does not handle: the tree ends as the single process would.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exited } from './support/ending';
import { endsLike, RELAYED, startTree, WAYS } from './support/signals';

describe('without a handler', () => {
  for (const signal of RELAYED) {
    test(`${signal} ends the tree at once, as it ends plain Node`, async (t) => {
      const plain = await startTree(t, {}, { hook: false });
      WAYS['the origin']?.(plain, signal);
      const expected = await exited(plain.app);
      assert.deepEqual(expected, { code: null, signal });
      for (const [way, send] of Object.entries(WAYS)) {
        await t.test(way, async (t) => {
          const tree = await startTree(t);
          send(tree, signal);
          await endsLike(tree, expected);
          assert.deepEqual(
            tree.ledger.entries.filter(({ event }) => event.startsWith('exit')),
            [],
            'no exit handler runs',
          );
        });
      }
    });
  }
});
