// SPDX-License-Identifier: Apache-2.0
// Every process that a benchmark starts is known here, so that none outlives it.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
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

interface Texts {
  stdout: string;
  stderr: string;
}

/** What it says, while it says it. */
function listenTo(child: ChildProcess): Texts {
  const texts: Texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  return texts;
}

/** Starts a program that says on stdout when it is ready. @throws Error with its stderr where it ends instead */
export async function startReady(
  name: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<ChildProcess> {
  const child = startProgram(words, env);
  const texts = listenTo(child);
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  const ready = await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), ended]);
  if (Array.isArray(ready)) return child;
  killGroup(child);
  throw new Error(`${name} has ended with ${ready}\n${texts.stderr}`);
}

/** Runs a program to its end. @throws Error with its stderr where it fails or takes longer */
export async function runProgram(
  name: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv,
  mostMs: number,
): Promise<Texts> {
  const child = startProgram(words, env);
  const texts = listenTo(child);
  const timer = setTimeout(() => killGroup(child), mostMs);
  try {
    const [code, signal] = await once(child, 'close');
    if (code !== 0) throw new Error(`${name} has ended with ${code ?? signal}\n${texts.stderr}`);
    return texts;
  } finally {
    clearTimeout(timer);
    killGroup(child);
  }
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
