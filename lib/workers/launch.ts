// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Birth } from '../birth';
import { shiftInspectPort } from './inspect';
import { holdInput, inputOfCopies } from './standard-input';
import { startProgram } from './start-program';

/** The control socket's place among the worker's descriptors: 0 to 2 standard streams, 3 the IPC channel. */
export const CONTROL_FD = 4;

export interface LaunchOptions {
  birth: Birth;
  index: number;
  /** Our end stays here; this end becomes descriptor 4 of the worker. */
  controlFd: number | undefined;
  /** Value of the marker variable in the worker's environment. */
  mark: string;
  markName: string;
  /** Command that runs before node, such as taskset. */
  prefix?: readonly string[];
}

/**
 * Starts the app once more. NODE_UNIQUE_ID makes the copy a cluster worker by identity (lib/internal/process/
 * pre_execution.js, initializeClusterIPC), and leaves cluster.workers in the origin alone (see Speaker).
 * @throws where child_process throws (no memory for the channel, for one)
 */
export function launch({
  birth,
  index,
  controlFd,
  mark,
  markName,
  prefix = [],
}: LaunchOptions): ChildProcess {
  const { env, execArgv } = shiftInspectPort(birth.env, birth.execArgv, index);
  const umask = process.umask(birth.umask);
  try {
    const child = startProgram({
      command: [...prefix, birth.execPath, ...execArgv, birth.script, ...birth.args] as [string, ...string[]],
      cwd: birth.cwd,
      env: { ...env, NODE_UNIQUE_ID: String(index), [markName]: mark },
      stdio: [inputOfCopies(), 'inherit', 'inherit', 'ipc', ...(controlFd === undefined ? [] : [controlFd])],
    });
    // the app alone keeps the origin alive
    child.unref();
    child.channel?.unref();
    holdInput(child);
    return child;
  } finally {
    process.umask(umask);
  }
}
