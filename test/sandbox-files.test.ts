// SPDX-License-Identifier: Apache-2.0
// Without /proc, and where nothing can be written: the app is multiplied all the same.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { until } from './support/app';
import { Sandboxed, Target } from './support/sandbox';

/** Words before a program that runs in a mount namespace of its own, after these commands. */
const within = (...commands: string[]): string[] => [
  'unshare',
  '-m',
  'sh',
  '-ec',
  `${commands.join('\n')}\nexec "$0" "$@"`,
];
const EMPTY_PROC = within('mount -t tmpfs none /proc');
/** Bind mounts that are read-only, one over each (mount(8): `remount,bind,ro` changes this mount alone). */
const READ_ONLY = within(
  'while read -r _ _ _ _ point _; do mount -o remount,bind,ro "$point" 2>/dev/null || true; done < /proc/self/mountinfo',
  'for folder in . /tmp /var/tmp /dev/shm; do',
  '  if touch "$folder/fastsocket-written" 2>/dev/null; then echo "$folder can be written"; exit 3; fi',
  'done',
);

function whyNot(prefix: readonly string[]): string | false {
  const [command, ...words] = [...prefix, 'true'];
  const { status, stdout } = spawnSync(command as string, words, { encoding: 'utf8' });
  return status === 0 ? false : `needs root and a mount namespace: ${stdout.trim()}`;
}

const target = new Target();

describe('no /proc', { skip: whyNot(EMPTY_PROC) }, () => {
  test('workers serve, and what cannot be read is named', async (t) => {
    const sandboxed = await Sandboxed.start(t, target, { prefix: EMPTY_PROC });
    const workers = await sandboxed.settled();
    assert.equal(workers.length, 2);
    await sandboxed.servedByEach(workers);
    for (const pid of workers) await sandboxed.app.said(new RegExp(`FASTSOCKET ${pid}: seam: batch`));
    process.kill(workers[1] as number, 'SIGKILL');
    await sandboxed.app.said(
      /worker \d ended \(code null, signal SIGKILL, for want of memory perhaps: no oom_kill/,
    );
    await until(
      () => sandboxed.app.stderr.match(/worker \d is ready/g)?.length === 3,
      () => `a successor:\n${sandboxed.app.stderr}`,
    );
    await sandboxed.named(workers.slice(0, 1), /source ports are the kernel's: .*ip_local_port_range fails/);
    await sandboxed.ends();
    const others = sandboxed.reasons.filter(
      ({ text }) => !/ip_local_port_range|\/proc\/self\/task/.test(text),
    );
    assert.deepEqual(others, []);
    assert.deepEqual(sandboxed.loud, []);
  });

  test('a share of the CPUs as the number of workers', {
    skip: availableParallelism() < 2 && 'needs two CPUs',
  }, async (t) => {
    const sandboxed = await Sandboxed.start(t, target, {
      prefix: EMPTY_PROC,
      env: { FASTSOCKET_WORKERS: '100%' },
    });
    await sandboxed.settled();
    await sandboxed.serves();
    await sandboxed.ends();
    assert.deepEqual(sandboxed.loud, []);
  });

  test('plain Node serves, too', async (t) => {
    const plain = await Sandboxed.start(t, target, { hook: false, prefix: EMPTY_PROC });
    await plain.answers();
    await plain.serves();
    await plain.ends();
    assert.equal(plain.app.stderr, '');
  });
});

test('a file system that cannot be written to', { skip: whyNot(READ_ONLY) }, async (t) => {
  const sandboxed = await Sandboxed.start(t, target, { prefix: READ_ONLY });
  const workers = await sandboxed.settled();
  assert.equal(workers.length, 2);
  await sandboxed.servedByEach(workers);
  await sandboxed.ends();
  assert.deepEqual(sandboxed.reasons, []);
  assert.deepEqual(sandboxed.loud, []);
});
