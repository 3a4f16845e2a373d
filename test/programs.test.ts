// SPDX-License-Identifier: Apache-2.0
// Programs that the app starts, in the origin or in a worker: they get nothing of ours, and they never multiply.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  type App,
  answeredBy,
  answering,
  childrenOf,
  fixture,
  freePort,
  hook,
  lives,
  multiplied,
  request,
  startApp,
  until,
} from './support/app';

const HOST = '127.0.0.1';
const UNSHARE = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'];
const [unshare, ...words] = [...UNSHARE, 'true'];
const skip =
  spawnSync(unshare as string, words).status === 0 ? false : 'no PID namespace can be made here (not root)';

interface Tree {
  app: App;
  workers: number[];
  /** Lets the origin, or plain Node, do what the path says; resolves to its answer. */
  origin(path: string): Promise<string>;
  /** The same in a worker. */
  worker(path: string): Promise<string>;
}

async function start(t: TestContext, hooked = true, prefix: string[] = []): Promise<Tree> {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-programs-'));
  const [ask, answer] = [join(folder, 'ask'), join(folder, 'answer')];
  const port = await freePort(HOST);
  const env = { ASK: ask, ANSWER: answer, CHILD: fixture('http-app.js'), HOOK: hook };
  const app = startApp(fixture('programs-app.js'), { port, hook: hooked, env, prefix });
  t.after(async () => {
    await app.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  if (!hooked) await answering(port, HOST);
  const workers = hooked ? await multiplied(app, 2, HOST) : [];
  const origin = prefix.length === 0 ? app.pid : (childrenOf(app.pid)[0] as number);
  return {
    app,
    workers,
    async origin(path) {
      writeFileSync(ask, path);
      process.kill(origin, 'SIGUSR1');
      const text = await until(
        () => existsSync(answer) && readFileSync(answer, 'utf8'),
        `an answer to ${path}`,
      );
      rmSync(answer);
      return text;
    },
    async worker(path) {
      const response = await request(port, path, HOST);
      assert.ok(workers.includes(answeredBy(response) as number));
      return response.slice(response.indexOf('\r\n\r\n') + 4);
    },
  };
}

/** Numbers of the descriptors that `ls -l /proc/self/fd` lists. */
const descriptors = (listing: string): number[] =>
  [...listing.matchAll(/ (\d+) -> /g)].map(([, fd]) => Number(fd)).sort((a, b) => a - b);

/** Blocked, ignored and caught signals in a /proc/PID/status. */
const dispositions = (status: string): string[] =>
  status.split('\n').filter((line) => /^Sig(Blk|Ign|Cgt):/.test(line));

describe('a started program', () => {
  test('has the descriptors and signal dispositions that it has under plain Node', async (t) => {
    const plain = await start(t, false);
    const fds = descriptors(await plain.origin('/fds'));
    const signals = dispositions(await plain.origin('/status'));
    // whoever runs the tests may have left descriptors open for everybody
    for (const fd of [0, 1, 2, 3]) assert.ok(fds.includes(fd), `${fds}`);
    assert.equal(signals.length, 3);
    const { origin, worker } = await start(t);
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
        const tree = await start(t);
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
    const tree = await start(t, true, UNSHARE);
    const port = await freePort(HOST);
    const before = tree.app.stderr.length;
    // its number inside the namespace, which its log has too
    const started = await tree.origin(`/server?way=clean&port=${port}`);
    await answering(port, HOST);
    const why = new RegExp(`FASTSOCKET ${started}: .*started by a program that fastsocket has multiplied`);
    await until(() => why.test(tree.app.stderr.slice(before)), `${why} in\n${tree.app.stderr}`);
  });
});
