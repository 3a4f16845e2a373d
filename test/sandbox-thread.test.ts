// SPDX-License-Identifier: Apache-2.0
// Calls of the balancing thread alone, which strace is attached to: elsewhere the origin makes the same ones for its workers.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { request, until } from './support/app';
import { errnosOf, Sandboxed, Target } from './support/sandbox';

const HOST = '127.0.0.1';
const THREAD = 'fastsocket';
const target = new Target();
const skip =
  ((process.getuid?.() !== 0 || spawnSync('strace', ['-V']).status !== 0) &&
    'needs strace, and root to attach it') ||
  (availableParallelism() < 2 && 'needs two CPUs');

const ROWS: [name: string, call: string, says: RegExp][] = [
  ['sendmsg, of offers', 'sendmsg', /idle workers are not asked to help: sendmsg fails/],
  ['epoll_ctl, of queues', 'epoll_ctl', /nobody helps who is blocked: epoll_ctl fails/],
  [
    'setsockopt(SO_ATTACH_REUSEPORT_CBPF), around who is blocked',
    'setsockopt',
    /come to who is blocked: setsockopt\(SO_ATTACH_REUSEPORT_CBPF\) fails/,
  ],
];

const of = (pid: number, tid: string, file: string): string =>
  readFileSync(`/proc/${pid}/task/${tid}/${file}`, 'utf8');

function threadOf(pid: number): string {
  const found = readdirSync(`/proc/${pid}/task`).filter((tid) => of(pid, tid, 'comm').trim() === THREAD);
  assert.equal(found.length, 1, `${found}`);
  return found[0] as string;
}

/** From now on every such call of this thread fails. */
async function refuse(t: TestContext, { call, errno, pid }: { call: string; errno: string; pid: number }) {
  const tid = threadOf(pid);
  const refused = ['-e', `trace=${call}`, '-e', `inject=${call}:error=${errno}`];
  const strace = spawn('strace', ['-qq', '-o', '/dev/null', ...refused, '-p', tid], { stdio: 'ignore' });
  t.after(async () => {
    if (strace.exitCode === null && strace.signalCode === null && strace.kill()) await once(strace, 'exit');
  });
  await until(() => !/^TracerPid:\s+0$/m.test(of(pid, tid, 'status')), 'strace is attached');
}

describe('refused in the balancing thread', { skip, concurrency: 2 }, () => {
  ROWS.forEach(([name, call, says], i) => {
    for (const errno of errnosOf(i))
      test(`${name}: ${errno}`, async (t) => {
        const sandboxed = await Sandboxed.start(t, target, {});
        const { app } = sandboxed;
        await sandboxed.servedByEach(await sandboxed.settled());
        await refuse(t, { call, errno, pid: app.pid });
        const blocked = request(app.port, '/block', HOST);
        await app.said(/^blocked \d+$/m);
        await sandboxed.serves();
        await blocked;
        await sandboxed.named([app.pid], says);
        await sandboxed.ends();
        assert.equal(sandboxed.reasons.length, 1, app.stderr);
        const loud = sandboxed.loud.filter((line) => !line.startsWith('blocked '));
        assert.deepEqual(loud, []);
      });
  });
});
