// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess, StdioOptions } from 'node:child_process';

/** What child_process.fork() comes down to (lib/child_process.js: fork, spawn, normalizeSpawnArguments). */
interface SpawnOptions {
  file: string;
  args: string[];
  cwd: string;
  envPairs: string[];
  stdio: StdioOptions;
}

interface Spawnable extends ChildProcess {
  /** Throws for want of memory or descriptors; all else becomes an 'error' event (lib/internal/child_process.js). */
  spawn(options: SpawnOptions): number;
}

export interface Program {
  /** Command and its words. */
  command: readonly [string, ...string[]];
  cwd: string;
  env: Readonly<Record<string, string>>;
  stdio: StdioOptions;
}

/**
 * Starts a program as fork() does, but not by the exported fork(): tracers put one of their own there (dd-trace,
 * datadog-instrumentations/src/child_process.js), and would tell of each worker as of a command that the app has run.
 * node:cluster, whose fork() is the one of before, is not traced either.
 */
export function startProgram({ command, cwd, env, stdio }: Program): ChildProcess {
  const childProcess = require('node:child_process') as { ChildProcess: new () => Spawnable };
  const child = new childProcess.ChildProcess();
  child.spawn({
    file: command[0],
    args: [...command],
    cwd,
    envPairs: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    stdio,
  });
  return child;
}
