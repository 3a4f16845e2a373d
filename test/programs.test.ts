// SPDX-License-Identifier: Apache-2.0
// Programs that the app starts, in the origin or in a worker: they get nothing of ours, and they never multiply.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { answeredBy, answering, childrenOf, freePort, lives, request, until } from './support/app';
import { HOST, startPrograms } from './support/programs';

const UNSHARE = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'];
const [unshare, ...words] = [...UNSHARE, 'true'];
const skip =
  spawnSync(unshare as string, words).status === 0 ? false : 'no PID namespace can be made here (not root)';

/** Numbers of the descriptors that `ls -l /proc/self/fd` lists. */
const descriptors = (listing: string): number[] =>
  [...listing.matchAll(/ (\d+) -> /g)].map(([, fd]) => Number(fd)).sort((a, b) => a - b);

/** Blocked, ignored and caught signals in a /proc/PID/status. */
const dispositions = (status: string): string[] =>
  status.split('\n').filter((line) => /^Sig(Blk|Ign|Cgt):/.test(line));

describe('a started program', () => {
  test('has the descriptors and signal dispositions that it has under plain Node', async (t) => {
    const plain = await startPrograms(t, { hooked: false });
    const fds = descriptors(await plain.origin('/fds'));
    const signals = dispositions(await plain.origin('/status'));
    // whoever runs the tests may have left descriptors open for everybody
    for (const fd of [0, 1, 2, 3]) assert.ok(fds.includes(fd), `${fds}`);
    assert.equal(signals.length, 3);
    const { origin, worker } = await startPrograms(t);
    for (const ask of [origin, worker]) {
      assert.deepEqual(descriptors(await ask('/fds')), fds);
      assert.deepEqual(dispositions(await ask('/status')), signals);
    }
  });

  for (const way of ['fork', 'options', 'clean', 'shell']) {
    for (const where of ['origin', 'worker'] as const) {
      test(`never multiplies: a server by ${way}, in ${where === 'origin' ? 'the origin' : 'a worker'}`, async (t) => {
        let started = 0;
        // first, because the app's output ends only when its programs have
        t.after(() => {
          const pids = started === 0 ? [] : [started, ...childrenOf(started)].filter(lives);
          for (const pid of pids) process.kill(pid, 'SIGKILL');
        });
        const tree = await startPrograms(t);
        const port = await freePort(HOST);
        const before = tree.app.stderr.length;
        started = Number(await tree[where](`/server?way=${way}&port=${port}`));
        await answering(port, HOST);
        const server = answeredBy(await request(port, '/', HOST)) as number;
        const why = () => tree.app.stderr.slice(before);
        await until(
          () => why().includes(`FASTSOCKET ${server}: `),
          `the hook in the program says something:\n${why()}`,
        );
        assert.match(
          why(),
          new RegExp(`FASTSOCKET ${server}: .*started by a program that fastsocket has multiplied already`),
        );
        assert.deepEqual(childrenOf(server), []);
        assert.deepEqual(
          childrenOf(tree.app.pid).filter((pid) => pid !== started),
          tree.workers,
        );
      });
    }
  }

  test('never multiplies: without our marker, started by process 1 of a container', { skip }, async (t) => {
    const tree = await startPrograms(t, { prefix: UNSHARE });
    const port = await freePort(HOST);
    const before = tree.app.stderr.length;
    // its number inside the namespace, which its log has too
    const started = await tree.origin(`/server?way=clean&port=${port}`);
    await answering(port, HOST);
    const why = new RegExp(`FASTSOCKET ${started}: .*started by a program that fastsocket has multiplied`);
    await until(() => why.test(tree.app.stderr.slice(before)), `${why} in\n${tree.app.stderr}`);
  });
});
