// SPDX-License-Identifier: Apache-2.0
// A signal that the app handles: whichever way it comes, every process behaves as the single process would, once.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './support/app';
import { endsLike, noted, RELAYED, startTree, WAYS } from './support/signals';

/** Longer than the origin waits for its own copy of a signal that a worker has reported. */
const SETTLED_MS = 250;

describe('with a handler', () => {
  test('every process runs it exactly once, whichever way the signal came', async (t) => {
    const tree = await startTree(t, { HANDLER: 'note' });
    const { ledger, all } = tree;
    let sent = 0;
    for (const [way, send] of Object.entries(WAYS)) {
      sent++;
      for (const signal of RELAYED) {
        send(tree, signal);
        await until(
          () => all.every((pid) => ledger.count(noted(signal), pid) >= sent),
          `${signal} to ${way}, noted by ${all}:\n${JSON.stringify(ledger.entries)}`,
        );
      }
      await sleep(SETTLED_MS);
      for (const signal of RELAYED) {
        for (const pid of all)
          assert.equal(
            ledger.count(noted(signal), pid),
            sent,
            `${signal} to ${way}, process ${all.indexOf(pid)}`,
          );
      }
    }
    assert.deepEqual(tree.app.workers(), tree.workers);
  });
});

describe('with a handler that ends the origin at once', () => {
  for (const [way, send] of Object.entries(WAYS)) {
    test(`process.exit() does not cut off what the workers have to finish: ${way}`, async (t) => {
      const tree = await startTree(t, { HANDLER: 'late' });
      send(tree, 'SIGTERM');
      await endsLike(tree, { code: 5, signal: null });
      assert.deepEqual(tree.ledger.of(tree.origin), ['origin', noted('SIGTERM'), 'exit 5']);
      for (const pid of tree.workers)
        assert.deepEqual(tree.ledger.of(pid), ['worker', noted('SIGTERM'), 'done', 'exit 0']);
    });

    test(`signal-exit ends every process by the signal, once: ${way}`, async (t) => {
      const tree = await startTree(t, { HANDLER: 'signal-exit' });
      send(tree, 'SIGTERM');
      await endsLike(tree, { code: null, signal: 'SIGTERM' });
      assert.deepEqual(tree.ledger.of(tree.origin), ['origin', 'left null SIGTERM']);
      for (const pid of tree.workers) assert.deepEqual(tree.ledger.of(pid), ['worker', 'left null SIGTERM']);
    });
  }

  for (const signal of RELAYED) {
    test(`${signal}: every process runs its handler and its exit handlers once`, async (t) => {
      const tree = await startTree(t, { HANDLER: 'exit' });
      process.kill(tree.origin, signal);
      await endsLike(tree, { code: 3, signal: null });
      for (const pid of tree.all) assert.deepEqual(tree.ledger.of(pid).slice(1), [noted(signal), 'exit 3']);
    });
  }
});
