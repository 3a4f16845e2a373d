// SPDX-License-Identifier: Apache-2.0
// Programs of util-linux that do before execve() what the addon does after it.
import { affinityOf } from './processes';

const PATIENCE_MS = 2_000;

/** Where a program is; undefined where PATH has none. */
export function findProgram(name: string, path: string | undefined): string | undefined {
  const { accessSync, constants } = require('node:fs') as typeof import('node:fs');
  for (const folder of (path ?? '').split(':')) {
    const file = `${folder || '.'}/${name}`;
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // the next folder may have it
    }
  }
  return undefined;
}

/** Runs a small program behind these words. Returns its output, or why it failed. */
function attempt(
  [command, ...args]: readonly string[],
  program: readonly string[],
): { output: string } | { failure: string } {
  const { spawnSync } = require('node:child_process') as typeof import('node:child_process');
  const options = { encoding: 'utf8' as const, timeout: PATIENCE_MS };
  const { status, stdout, stderr, error } = spawnSync(command as string, [...args, ...program], options);
  if (error) return { failure: `could not be run (${error.message})` };
  return status === 0
    ? { output: stdout }
    : { failure: `failed (${stderr.trim().split('\n')[0] || `status ${status}`})` };
}

/** The words that start a program on one CPU. taskset(1) takes a hexadecimal mask, and so does busybox's. */
export function tasksetWords(taskset: string, cpu: number): string[] {
  return [taskset, (1n << BigInt(cpu)).toString(16)];
}

/** Starts one small program on `cpu` and lets it say where it may run. Returns why that failed; undefined: it works. */
export function tasksetFailure(taskset: string, cpu: number): string | undefined {
  const tried = attempt(tasksetWords(taskset, cpu), ['cat', '/proc/self/status']);
  if ('failure' in tried) return `taskset ${tried.failure}`;
  const cpus = affinityOf('self', () => tried.output);
  return cpus.length === 1 && cpus[0] === cpu ? undefined : 'taskset had no effect';
}

/**
 * The words that tie a program's life to its parent's: setpriv(1) arms the parent-death signal, which survives execve()
 * and is lost when the app changes its user (prctl(2), PR_SET_PDEATHSIG). None where setpriv is missing or too old.
 */
export function lifelineWords(path: string | undefined): string[] {
  const setpriv = findProgram('setpriv', path);
  if (setpriv === undefined) return [];
  const words = [setpriv, '--pdeathsig', 'KILL'];
  return 'output' in attempt(words, ['true']) ? words : [];
}
