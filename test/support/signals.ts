// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { TestContext } from 'node:test';
import {
  type App,
  type AppOptions,
  answering,
  type Ended,
  fixture,
  freePort,
  multiplied,
  startApp,
} from './app';
import { exited, noneLeft, portFree } from './ending';
import { Ledger } from './ledger';

export const RELAYED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const satisfies NodeJS.Signals[];

/** What the fixture's handlers note: the arguments that Node gives them. */
export const noted = (signal: NodeJS.Signals): string => `${signal} ${constants.signals[signal]}`;

export interface Tree {
  app: App;
  ledger: Ledger;
  origin: number;
  workers: number[];
  /** Origin and workers. */
  all: number[];
}

/** Starts signals-app.js in a process group of its own and waits until its workers serve; ended with the test. */
export async function startTree(
  t: TestContext,
  env: Record<string, string> = {},
  options: AppOptions & { waitFor?: 'answer' } = {},
): Promise<Tree> {
  let app: App | undefined;
  // first: the ledger goes with the test, too
  t.after(async () => {
    // an orphan would hold the app's output
    for (const { pid } of ledger.entries) if (belongs(pid, ledger.path)) send(pid, 'SIGKILL');
    await app?.stop();
  });
  const ledger = new Ledger();
  const port = await freePort();
  app = startApp(fixture('signals-app.js'), {
    ...options,
    port,
    detached: options.detached ?? true,
    env: { LEDGER: ledger.path, ...env },
  });
  const single = options.hook === false || options.waitFor === 'answer';
  if (single) await answering(port, '127.0.0.1');
  const workers = single ? [] : await multiplied(app, Number(env['FASTSOCKET_WORKERS'] ?? 2), '127.0.0.1');
  return { app, ledger, origin: app.pid, workers, all: [app.pid, ...workers] };
}

function belongs(pid: number, ledger: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`LEDGER=${ledger}\0`);
  } catch {
    return false;
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // the others may be gone by now, as they are for whoever goes through a list of processes
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Ways in which a signal comes to a tree whose origin leads its process group. */
export const WAYS: Record<string, (tree: Tree, signal: NodeJS.Signals) => void> = {
  // first: the same signal within half a second would count as a copy of the one before
  'one worker (pid file)': ({ workers }, signal) => send(workers[0] as number, signal),
  'the origin': ({ origin }, signal) => send(origin, signal),
  'the process group': ({ origin }, signal) => send(-origin, signal),
  'every process, origin first': ({ all }, signal) => all.forEach((pid) => send(pid, signal)),
  'every process, workers first': ({ all }, signal) => [...all].reverse().forEach((pid) => send(pid, signal)),
};

/** The origin ends so; when that can be seen its port is free, and no worker is left. */
export async function endsLike(tree: Tree, expected: Ended): Promise<void> {
  assert.deepEqual(await exited(tree.app), expected);
  assert.ok(await portFree(tree.app.port), 'the port is free when the end can be seen');
  await noneLeft(tree.workers);
}
