// SPDX-License-Identifier: Apache-2.0
// Beside the port on which all cores serve: one with exclusive: true is the first process's alone, one of the kernel's
// choice each process has for itself, and one with reusePort: true is anybody's.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, type TestContext, test } from 'node:test';
import { type App, census, fixture, freePort, hook, multiplied, startApp, until } from './support/app';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
const REQUESTS = 24;

const bare = new PackageWithoutAddon();
after(() => bare.remove());
const ways = { 'with the addon': ['-r', hook], ...bare.means };
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const noReusePort = (major < 22 || (major === 22 && minor < 12)) && 'net ignores reusePort before Node 22.12';

async function start(t: TestContext, flags: string[], env: Record<string, string> = {}) {
  const alone = await freePort(HOST);
  const app = startApp(fixture('exclusive-app.js'), {
    port: await freePort(HOST),
    hook: flags,
    env: { ALONE: String(alone), ...env },
  });
  t.after(() => app.stop());
  return { app, alone };
}

/** What each process has noted about this server. */
function noted({ stderr }: App, server: string): Map<number, string> {
  const lines = stderr.matchAll(new RegExp(`^(\\d+) ${server} (\\S+)$`, 'gm'));
  return new Map([...lines].map(([, pid, word]) => [Number(pid), word as string]));
}

const answerers = async (port: number) => [...(await census(port, REQUESTS, HOST)).keys()];

for (const [way, flags] of Object.entries(ways))
  test(`${way}: each port is whose it is`, async (t) => {
    const { app, alone } = await start(t, flags);
    const workers = await multiplied(app, 2, HOST);
    const all = [app.pid, ...workers];
    for (const server of ['exclusive', 'any'])
      await until(
        () => all.every((pid) => noted(app, server).has(pid)),
        () => `${server} of ${all}:\n${app.stderr}`,
      );
    const exclusive = noted(app, 'exclusive');
    assert.deepEqual(
      all.map((pid) => exclusive.get(pid)),
      ['listens', 'EADDRINUSE', 'EADDRINUSE'],
    );
    assert.deepEqual(await answerers(alone), [app.pid]);
    const any = noted(app, 'any');
    assert.equal(new Set(any.values()).size, all.length);
    for (const pid of all) assert.deepEqual(await answerers(Number(any.get(pid))), [pid]);
  });

test('a port with reusePort: true is shared by all processes, and by others that ask for it so', {
  skip: noReusePort,
}, async (t) => {
  const shared = await freePort(HOST);
  const { app } = await start(t, ['-r', hook], { SHARED: String(shared) });
  const all = [app.pid, ...(await multiplied(app, 2, HOST)), process.pid];
  const stranger = createServer((_request, response) => {
    response.setHeader('X-Pid', process.pid);
    response.end();
  });
  stranger.listen({ port: shared, host: HOST, reusePort: true });
  t.after(() => stranger.close());
  await once(stranger, 'listening');
  const seen = new Set<number>();
  await until(
    async () => {
      for (const pid of await answerers(shared)) seen.add(pid);
      return all.every((pid) => seen.has(pid));
    },
    () => `answers of ${all}, not ${[...seen]}:\n${app.stderr}`,
  );
  assert.equal(seen.size, all.length);
});

test('copies that are faster than the first process give way to it', async (t) => {
  const { app, alone } = await start(t, ['-r', hook], { LATE: '1' });
  const workers = await multiplied(app, 2, HOST);
  const words = () => workers.map((pid) => noted(app, 'exclusive').get(pid));
  await until(
    () => words().every(Boolean),
    () => `words of ${workers}:\n${app.stderr}`,
  );
  assert.deepEqual(words().sort(), ['EADDRINUSE', 'listens']);
  const [first] = await answerers(alone);
  assert.ok(workers.includes(first as number));
  process.kill(app.pid, 'SIGUSR1');
  await until(
    () => noted(app, 'exclusive').get(app.pid),
    () => `its word:\n${app.stderr}`,
  );
  assert.equal(noted(app, 'exclusive').get(app.pid), 'listens');
  // nobody listens while it changes hands
  const now = () => answerers(alone).catch(() => []);
  await until(async () => String(await now()) === String(app.pid), 'answers of the first process alone');
  assert.deepEqual(app.workers(), workers);
});

test('an app that does not expect that ends as a second start of it would: it stays one process', async (t) => {
  const { app, alone } = await start(t, ['-r', hook], { THROWS: '1' });
  await app.said(/^fastsocket: the app runs as plain Node: the copy exited with code 1 before/m);
  assert.deepEqual(await answerers(app.port), [app.pid]);
  assert.deepEqual(await answerers(alone), [app.pid]);
});
