// SPDX-License-Identifier: Apache-2.0
// pm2-runtime, PM2 for containers: one program, which is the primary of the app's workers, and ends with them.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { type Ended, fixture, freePort, hook, lives, root, startApp, until } from './support/app';
import { exited, noneLeft, untilPortFree } from './support/ending';
import { answerers, treeOf } from './support/pm2';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';

async function run(t: TestContext, hooked: boolean): Promise<Ended> {
  const home = temporaryFolder('runtime');
  const port = await freePort(HOST);
  const env = { PORT: `${port}`, ADDON: addonPath(), API: join(root, 'dist/index.cjs'), LEAVES: 'signal' };
  const described = { name: 'runtime', script: fixture('pm2-app.js'), exec_mode: 'cluster', instances: 2 };
  const file = join(home, 'apps.json');
  writeFileSync(file, JSON.stringify({ apps: [{ ...described, vizion: false, pmx: false, env }] }));
  const app = startApp(join(root, 'node_modules/pm2/bin/pm2-runtime'), {
    port,
    hook: false,
    args: ['start', file],
    cwd: home,
    env: { PM2_HOME: home, PM2_NO_INTERACTION: 'true', ...(hooked ? { NODE_OPTIONS: `-r ${hook}` } : {}) },
  });
  let tree: number[] = [];
  t.after(async () => {
    for (const pid of new Set([...treeOf(app.pid), ...tree])) if (lives(pid)) process.kill(pid, 'SIGKILL');
    await app.stop();
  });
  const workers = await answerers(port, 2, ({ active }) => active === hooked);
  tree = treeOf(app.pid);
  for (const { parent } of workers) assert.equal(parent, app.pid);
  const pids = workers.map(({ pid }) => pid);
  if (hooked) {
    // by round robin nobody would be answered
    process.kill(app.pid, 'SIGSTOP');
    const said = await answerers(port, 2).finally(() => process.kill(app.pid, 'SIGCONT'));
    assert.deepEqual(
      said.map(({ pid }) => pid),
      pids,
    );
  }
  process.kill(app.pid, 'SIGTERM');
  await until(
    () => app.child.exitCode !== null || app.child.signalCode !== null,
    () => `its end:\n${app.stdout}\n${app.stderr}`,
    60_000,
  );
  await noneLeft(tree, 10_000);
  await untilPortFree(port);
  return exited(app);
}

test('its workers have sockets of their own, and all end as in plain Node', async (t) => {
  const plain = await run(t, false);
  assert.deepEqual(await run(t, true), plain);
});
