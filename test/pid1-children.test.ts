// SPDX-License-Identifier: Apache-2.0
// As PID 1, without an init: workers that end are reaped, and programs that the app starts end for whoever has started them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { answering, childrenOf, fixture, freePort, startApp, until } from './support/app';
import { Ledger } from './support/ledger';
import { UNSHARE, whyNotFirst } from './support/pid-namespace';

const HOST = '127.0.0.1';
const KILLS = 4;
const ROUNDS = 10;

/** Names of a process's children that have ended and that nobody has waited for. */
function zombiesOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .flatMap((child) => {
      const status = readFileSync(`/proc/${child}/status`, 'utf8');
      return /^State:\s+Z/m.test(status) ? [/^Name:\s*(.*)$/m.exec(status)?.[1] ?? ''] : [];
    });
}

test('while workers are killed everybody gets the exit codes of his own children', {
  skip: whyNotFirst,
}, async (t) => {
  const ledger = new Ledger();
  const app = startApp(fixture('parent-app.js'), {
    port: await freePort(HOST),
    env: { HOST, LEDGER: ledger.path },
    prefix: UNSHARE,
  });
  t.after(() => app.stop());
  await answering(app.port, HOST);
  const origin = await until(() => childrenOf(app.pid)[0], 'process 1');
  const rounds = () => {
    const most = new Map<number, number>();
    for (const { pid, event } of ledger.entries)
      if (event.startsWith('rounds ')) most.set(pid, Number(event.slice(7)));
    return most;
  };
  const workers = () =>
    childrenOf(origin).filter((pid) => /\0FASTSOCKET_CORE=[^\0]*\/\d+\/\d+\//.test(`\0${environ(pid)}`));
  for (let kill = 0; kill < KILLS; kill++) {
    const pids = await until(
      () => workers().length === 2 && workers(),
      () => `two workers:\n${app.stderr}`,
    );
    // both are in the middle of it
    await until(
      () => rounds().size >= 3 + kill,
      () => `programs of all processes:\n${app.stderr}`,
    );
    process.kill(pids[kill % 2] as number, 'SIGKILL');
    await until(() => !workers().includes(pids[kill % 2] as number), 'its end');
  }
  const before = rounds().get(1) ?? 0;
  await until(
    () => (rounds().get(1) ?? 0) > before + ROUNDS,
    () => `more programs:\n${app.stderr}`,
  );
  assert.deepEqual(
    ledger.entries.filter(({ event }) => event.startsWith('wrong')),
    [],
  );
  // what a killed worker had started is nobody's any more, and plain Node as PID 1 does not wait for it either
  const left = zombiesOf(origin).filter((name) => name !== 'sh' && name !== 'sleep');
  assert.deepEqual(left, [], 'every worker has been waited for');
});

function environ(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return '';
  }
}
