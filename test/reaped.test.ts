// SPDX-License-Identifier: Apache-2.0
// Workers do not outlive their origin as zombies either: process 1 of a container may be a program that never asks for them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { childrenOf, fixture, freePort, hook, startApp, until } from './support/app';
import { answerers } from './support/pm2';

const HOST = '127.0.0.1';
const UNSHARE = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'];
const [command, ...words] = [...UNSHARE, 'true'];
const skip =
  spawnSync(command as string, words).status === 0 ? false : 'no PID namespace can be made here (not root)';

describe('when the origin has ended its workers are gone', { skip }, () => {
  const ways = {
    'by a signal that it does not handle': ['SIGTERM', { code: null, signal: 'SIGTERM' }],
    'by process.exit()': ['SIGUSR1', { code: 3, signal: null }],
  } as const;
  for (const [way, [send, ended]] of Object.entries(ways)) {
    test(way, async (t) => {
      const port = await freePort(HOST);
      const first = startApp(fixture('first.js'), {
        port,
        hook: false,
        prefix: UNSHARE,
        args: ['-r', hook, fixture('pm2-app.js')],
      });
      t.after(() => first.stop());
      await answerers(port, 2, ({ parent }) => parent !== 1);
      const one = childrenOf(first.pid)[0] as number;
      process.kill(childrenOf(one)[0] as number, send);
      const line = await until(
        () => first.stdout.split('\n').find((text) => text.startsWith('{')),
        () => `its end:\n${first.stderr}`,
      );
      assert.deepEqual(JSON.parse(line), { ...ended, left: [] });
    });
  }
});
