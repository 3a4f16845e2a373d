// SPDX-License-Identifier: Apache-2.0
import { type Limits, readLimits } from './cgroup';
import type { ReadText } from './read';

/** What is missing now is descriptors or memory, not the file. */
const PASSING: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR']);

type Read = (path: string) => string;

const readFile: Read = (path) => (require('node:fs') as typeof import('node:fs')).readFileSync(path, 'utf8');

/**
 * The limits as they are now, for an app that serves; undefined where they cannot be read at the moment: to a process
 * without descriptors everything is as if there were no limits.
 */
export function limitsNow(read: Read = readFile): Limits | undefined {
  let passing = false;
  const readOrNot: ReadText = (path) => {
    try {
      return read(path);
    } catch (error) {
      passing ||= PASSING.has((error as NodeJS.ErrnoException).code);
      return undefined;
    }
  };
  const limits = readLimits(readOrNot);
  return passing ? undefined : limits;
}
