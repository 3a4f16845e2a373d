// SPDX-License-Identifier: Apache-2.0
// server.listen(server): a second server on the handle of the first, which listens once more (lib/net.js, Server.listen).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type App, fixture, freePort, startApp, until } from './support/app';
import { exited, portFree } from './support/ending';

const HOST = '127.0.0.1';

async function start(t: TestContext, hook: boolean, workers: number): Promise<App> {
  const app = startApp(fixture('seam-neighbours.js'), {
    port: await freePort(HOST),
    hook,
    env: { MODE: 'twice', FASTSOCKET_WORKERS: String(workers), FASTSOCKET_SEAM: 'on' },
  });
  t.after(() => app.stop());
  const ready = () => new Set(app.stderr.match(/worker \d is ready/g)).size;
  await until(
    () => app.stdout.split('listening').length - 1 === 1 + (workers > 1 ? workers : 0),
    () => `servers that listen:\n${app.stderr}`,
  );
  if (workers > 1) await until(() => ready() === workers, 'workers that serve');
  return app;
}

/** What a client hears first. */
async function hears(port: number): Promise<string> {
  const socket = connect(port, HOST);
  const [data] = await once(socket, 'data');
  socket.destroy();
  return String(data);
}

for (const [name, hook, workers] of [
  ['plain Node', false, 1],
  ['one process', true, 1],
  ['a group', true, 2],
] as const)
  test(`${name}: the second serves, and both close`, async (t) => {
    const app = await start(t, hook, workers);
    const by = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const [, pid] = /^(\d+) \d+\n$/.exec(await hears(app.port)) ?? [];
      by.add(Number(pid));
    }
    assert.ok([...by].every((pid) => (workers > 1 ? app.workers().includes(pid) : pid === app.pid)));
    app.child.kill('SIGUSR2');
    assert.deepEqual(await exited(app), { code: 0, signal: null });
    assert.ok(await portFree(app.port));
    const said = (what: string) => app.stdout.split(what).length - 1;
    const processes = 1 + (workers > 1 ? workers : 0);
    await app.ended;
    for (const which of ['first', 'second'])
      assert.equal(said(`${which} has closed`), processes, `${which}: ${app.stdout}\n${app.stderr}`);
  });
