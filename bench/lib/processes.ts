// SPDX-License-Identifier: Apache-2.0
// Every process that a benchmark starts is known here, so that none outlives it.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { constants } from 'node:os';

const started = new Map<ChildProcess, { group: boolean }>();

function remember(child: ChildProcess, group: boolean): void {
  started.set(child, { group });
  // a group may have members left when its leader has gone: those end by killAll() or by their starter
  if (!group) child.once('exit', () => started.delete(child));
}

/** Starts a program as the leader of a process group of its own; what it writes to stderr can be read, stdout is dropped. */
export function startGroup(
  argv: readonly string[],
  options: { cwd: string; env: Record<string, string> },
): ChildProcess {
  const child = spawn(process.execPath, argv, {
    ...options,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  remember(child, true);
  return child;
}

/** Starts any program as the leader of a process group of its own, with stdout and stderr to be read. */
export function startProgram(words: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  const [command, ...rest] = words;
  const child = spawn(command as string, rest, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  remember(child, true);
  return child;
}

export function startFork(script: string): ChildProcess {
  const child = fork(script, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  remember(child, false);
  return child;
}

function killOne(child: ChildProcess, group: boolean): void {
  if (child.pid === undefined) return;
  try {
    process.kill(group ? -child.pid : child.pid, 'SIGKILL');
  } catch {
    // ESRCH: it has ended
  }
}

/** Kills what is left of a group, and forgets it. */
export function killGroup(child: ChildProcess): void {
  killOne(child, true);
  started.delete(child);
}

/** Kills everything that has been started here and lives. Synchronous: it works in an 'exit' handler. */
export function killAll(): void {
  for (const [child, { group }] of started) killOne(child, group);
}

/** Whatever ends this process, all it has started ends with it; `cleanUp` runs after that, synchronously. */
export function endWithEverything(cleanUp: () => void): void {
  process.on('exit', () => {
    killAll();
    cleanUp();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
}
