// SPDX-License-Identifier: Apache-2.0
import { affinityOf } from './processes';

const PATIENCE_MS = 2_000;

/** The mask that taskset(1) takes: hexadecimal, which busybox understands too. */
export function cpuMask(cpu: number): string {
  return (1n << BigInt(cpu)).toString(16);
}

/** The command that starts a program on one CPU. */
export function tasksetPrefix(taskset: string, cpu: number): string[] {
  return [taskset, cpuMask(cpu)];
}

/** Where taskset is; undefined where PATH has none. */
export function findTaskset(path: string | undefined): string | undefined {
  const { accessSync, constants } = require('node:fs') as typeof import('node:fs');
  for (const folder of (path ?? '').split(':')) {
    const file = `${folder || '.'}/taskset`;
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // the next folder may have it
    }
  }
  return undefined;
}

/** Starts one small program on `cpu` and lets it say where it may run. Returns why that failed; undefined: it works. */
export function tasksetFailure(taskset: string, cpu: number): string | undefined {
  const { spawnSync } = require('node:child_process') as typeof import('node:child_process');
  const [command, ...args] = tasksetPrefix(taskset, cpu) as [string, ...string[]];
  const { status, stdout, stderr, error } = spawnSync(command, [...args, 'cat', '/proc/self/status'], {
    encoding: 'utf8',
    timeout: PATIENCE_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (error) return `taskset could not be run (${error.message})`;
  if (status !== 0) return `taskset failed (${stderr.trim().split('\n')[0] || `status ${status}`})`;
  const cpus = affinityOf('self', () => stdout);
  return cpus.length === 1 && cpus[0] === cpu ? undefined : 'taskset had no effect';
}
