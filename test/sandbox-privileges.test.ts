// SPDX-License-Identifier: Apache-2.0
// No privilege is used: without a single capability, now or ever, the same things are done.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { hook, request, until } from './support/app';
import { Sandboxed, Target } from './support/sandbox';

const HOST = '127.0.0.1';
const NOTHING = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs'];
const NOBODY = [...NOTHING, '--reuid=65534', '--regid=65534', '--clear-groups'];

function whyNot(prefix: readonly string[]): string | false {
  const [command, ...words] = [...prefix, process.execPath, '-e', `require(${JSON.stringify(hook)})`];
  return spawnSync(command as string, words).status === 0
    ? false
    : 'needs root, setpriv, and files that all can read';
}

/**
 * What the kernel itself keeps for the privileged: since some 6.18.x it wants CAP_NET_ADMIN for SO_ATTACH_FILTER on a TCP
 * socket.
 */
function refusedTo(prefix: readonly string[]): string[] {
  const code = `const addon = require(${JSON.stringify(addonPath())});
    addon.dropSyn(addon.bindShared(4, '127.0.0.1', 0, 0));
    console.log(JSON.stringify(addon.refusals()));`;
  const [command, ...words] = [...prefix, process.execPath, '-e', code];
  return JSON.parse(spawnSync(command as string, words, { encoding: 'utf8' }).stdout) as string[];
}

/** What has been done, by the debug log: without pids and ports, and without what goes on while it serves. */
function done({ app }: Sandboxed): string[] {
  const lines = app.stderr
    .split('\n')
    .filter((line) => line && !/: steering: |: balancing: |: workers /.test(line));
  return lines
    .map((line) => line.replace(/^FASTSOCKET \d+: /, '').replaceAll(String(app.port), 'PORT'))
    .sort();
}

const status = (pid: number, field: string): string =>
  new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';

const target = new Target();

async function run(
  t: TestContext,
  prefix: string[],
): Promise<{ sandboxed: Sandboxed; log: string[]; masks: string[] }> {
  const sandboxed = await Sandboxed.start(t, target, { prefix });
  const workers = await sandboxed.settled();
  assert.equal(workers.length, 2);
  await sandboxed.servedByEach(workers);
  const { app } = sandboxed;
  await until(
    () => app.stderr.match(/ seam: /g)?.length === 3,
    () => `three seams:\n${app.stderr}`,
  );
  const log = done(sandboxed);
  const masks = workers.map((pid) => status(pid, 'Cpus_allowed_list'));
  return { sandboxed, log, masks: masks.sort() };
}

for (const [name, prefix] of [
  ['no capability', NOTHING],
  ['no capability, another user', NOBODY],
] as const) {
  test(name, { skip: whyNot(prefix) }, async (t) => {
    const free = await run(t, []);
    const { sandboxed, log, masks } = await run(t, [...prefix]);
    const { app } = sandboxed;
    for (const pid of [app.pid, ...app.workers()]) {
      assert.equal(status(pid, 'CapBnd'), '0000000000000000');
      assert.equal(status(pid, 'NoNewPrivs'), '1');
    }
    assert.deepEqual(log, free.log);
    assert.deepEqual(masks, free.masks);
    assert.match(app.stderr, /listener group \S+: 3 sockets, steered/);
    // what comes to a worker that is blocked is served by the other one
    let over = false;
    const blocked = request(app.port, '/block', HOST).finally(() => {
      over = true;
    });
    await app.said(/^blocked \d+$/m);
    await sandboxed.serves(16);
    assert.equal(over, false, 'they have waited for the blocked worker');
    await blocked;
    await sandboxed.ends();
    const reasons = sandboxed.reasons.map(({ text }) => text.replace(/^FASTSOCKET \d+: /, ''));
    assert.deepEqual(reasons, refusedTo(prefix));
    assert.deepEqual(
      sandboxed.loud.filter((line) => !line.startsWith('blocked ')),
      [],
    );
  });
}
