// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';

/**
 * What a copy has for its standard input. What is typed or piped into the app is for the process that was started. Where
 * something may still come there (a terminal, a pipe), nothing ever comes here, and it ends with the origin: at the end of
 * its input an app with a console ends, too (readline's 'close', the REPL's 'exit'). Everywhere else it is /dev/null.
 */
export function inputOfCopies(): 'pipe' | 'ignore' {
  const { fstatSync } = require('node:fs') as typeof import('node:fs');
  const { isatty } = require('node:tty') as typeof import('node:tty');
  try {
    const stats = fstatSync(0);
    return stats.isFIFO() || stats.isSocket() || isatty(0) ? 'pipe' : 'ignore';
  } catch {
    // it is closed
    return 'ignore';
  }
}

/** Our end of it is only held: child_process destroys it when the child ends. */
export function holdInput({ stdin }: ChildProcess): void {
  if (!stdin) return;
  (stdin as NodeJS.WritableStream & { unref?(): void }).unref?.();
  stdin.on('error', () => {});
}
