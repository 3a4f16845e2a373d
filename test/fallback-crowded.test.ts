// SPDX-License-Identifier: Apache-2.0
// A copy that may open no more descriptors, where there is no addon: its listening socket comes over the channel, and needs
// one.
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { type App, answering, fixture, freePort, multiplied, startApp } from './support/app';
import { Ledger } from './support/ledger';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
const LIMITED = ['sh', '-c', 'ulimit -n 100; exec "$0" "$@"'];

const bare = new PackageWithoutAddon();
after(() => bare.remove());

async function start(
  t: TestContext,
  when: string,
  hook: false | string[],
): Promise<{ app: App; ledger: Ledger }> {
  const ledger = new Ledger();
  const app = startApp(fixture('crowded.js'), {
    port: await freePort(HOST),
    hook,
    env: { LEDGER: ledger.path, WHEN: when, ...(hook === false ? { ALWAYS: '1' } : {}) },
    prefix: LIMITED,
  });
  t.after(() => app.stop());
  return { app, ledger };
}

for (const [means, flags] of Object.entries(bare.means))
  describe(means, () => {
    for (const [name, when] of [
      ['before it listens: the error of plain Node', 'before'],
      ['right after: it listens', 'after'],
    ] as const)
      test(name, async (t) => {
        const plain = await start(t, when, false);
        await answering(plain.app.port, HOST);
        const { app, ledger } = await start(t, when, flags);
        for (const pid of await multiplied(app, 2, HOST))
          assert.deepEqual(ledger.of(pid), plain.ledger.of(plain.app.pid));
        assert.match(
          plain.ledger.of(plain.app.pid).join(),
          when === 'before' ? /listen EMFILE/ : /^starts,listens$/,
        );
      });

    test('all the time: it hears of it instead of never', async (t) => {
      const { app, ledger } = await start(t, 'always', flags);
      for (const pid of await multiplied(app, 2, HOST)) {
        const story = ledger.of(pid);
        assert.match(story[1] ?? '', /^listen EMFILE/);
        assert.equal(story.at(-1), 'listens');
      }
    });
  });
