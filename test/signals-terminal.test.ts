// SPDX-License-Identifier: Apache-2.0
// Ctrl-C in a terminal, and its hang-up: the kernel signals the whole foreground process group at once.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fixture, freePort, hook, lives, until } from './support/app';
import { noneLeft, portFree } from './support/ending';
import { Ledger } from './support/ledger';
import { noted } from './support/signals';

const CTRL_C = '\x03';
const SETTLED_MS = 250;
const skip =
  spawnSync('script', ['--version']).status === 0 ? false : 'there is no script(1) here to make a terminal';

interface Terminal {
  child: ChildProcess;
  ledger: Ledger;
  port: number;
  origin: number;
  workers: number[];
  type(text: string): void;
}

/** The fixture in the foreground of a terminal of its own. */
async function inTerminal(
  t: TestContext,
  env: Record<string, string>,
  hooked = true,
  nohup = false,
): Promise<Terminal> {
  const ledger = new Ledger();
  const port = await freePort();
  const node = `${process.execPath} ${hooked ? `-r ${hook}` : ''} ${fixture('signals-app.js')}`;
  // nohup would write nohup.out
  const command = nohup ? `exec nohup ${node} > /dev/null 2>&1` : `exec ${node}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    env: {
      ...process.env,
      SHELL: '/bin/sh',
      PORT: String(port),
      FASTSOCKET_WORKERS: '2',
      LEDGER: ledger.path,
      NODE_TEST_CONTEXT: undefined,
      ...env,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdout?.resume();
  const pids = (role: string) => ledger.entries.filter(({ event }) => event === role).map(({ pid }) => pid);
  t.after(() => {
    child.kill('SIGKILL');
    for (const pid of pids('origin').filter(lives)) process.kill(pid, 'SIGKILL');
  });
  const wanted = hooked ? 2 : 0;
  await until(
    () => pids('origin').length === 1 && pids('worker').length === wanted,
    `one origin and ${wanted} workers in the terminal`,
  );
  // the line discipline of the terminal does the rest
  return {
    child,
    ledger,
    port,
    origin: pids('origin')[0] as number,
    workers: pids('worker'),
    type: (text) => child.stdin?.write(text),
  };
}

/** script -e ends as its command did: 128 + n for a signal. */
async function status({ child }: Terminal): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit');
  return child.exitCode;
}

describe('in a terminal', { skip }, () => {
  test('each Ctrl-C reaches the handlers of every process once', async (t) => {
    const terminal = await inTerminal(t, { HANDLER: 'note' });
    const { ledger, origin, workers } = terminal;
    for (let sent = 1; sent <= 3; sent++) {
      terminal.type(CTRL_C);
      await until(
        () => [origin, ...workers].every((pid) => ledger.count(noted('SIGINT'), pid) >= sent),
        `${sent} times SIGINT everywhere`,
      );
    }
    await sleep(SETTLED_MS);
    for (const pid of [origin, ...workers]) assert.equal(ledger.count(noted('SIGINT'), pid), 3);
  });

  test('Ctrl-C without a handler ends the tree as it ends plain Node', async (t) => {
    const plain = await inTerminal(t, {}, false);
    plain.type(CTRL_C);
    const expected = await status(plain);
    assert.equal(expected, 130);
    const terminal = await inTerminal(t, {});
    terminal.type(CTRL_C);
    assert.equal(await status(terminal), expected);
    assert.ok(await portFree(terminal.port));
    await noneLeft(terminal.workers);
  });

  test('Ctrl-C with a handler that ends the origin lets the workers finish', async (t) => {
    const terminal = await inTerminal(t, { HANDLER: 'late' });
    terminal.type(CTRL_C);
    assert.equal(await status(terminal), 5);
    for (const pid of terminal.workers)
      assert.deepEqual(terminal.ledger.of(pid), ['worker', noted('SIGINT'), 'done', 'exit 0']);
  });

  test('the terminal goes: SIGHUP reaches every process once', async (t) => {
    const terminal = await inTerminal(t, { HANDLER: 'exit' });
    terminal.child.kill('SIGKILL');
    await noneLeft([terminal.origin, ...terminal.workers]);
    for (const pid of [terminal.origin, ...terminal.workers])
      assert.deepEqual(terminal.ledger.of(pid).slice(1), [noted('SIGHUP'), 'exit 3']);
  });

  test('under nohup the tree does with SIGHUP what plain Node does', async (t) => {
    const ends: boolean[] = [];
    for (const hooked of [false, true]) {
      const terminal = await inTerminal(t, {}, hooked, true);
      process.kill(terminal.origin, 'SIGHUP');
      // Node resets all dispositions when it starts (src/node.cc, ResetSignalHandlers), so this is an end
      await until(() => !lives(terminal.origin), 'the end of the origin', 2_000).catch(() => {});
      ends.push(lives(terminal.origin));
      if (!lives(terminal.origin)) await noneLeft(terminal.workers);
    }
    assert.equal(ends[1], ends[0]);
  });
});
