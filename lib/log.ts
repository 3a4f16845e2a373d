// SPDX-License-Identifier: Apache-2.0
import { debugEnabled } from './config/environment';

let enabled: boolean | undefined;

function write(line: string): void {
  try {
    const { writeSync } = require('node:fs') as typeof import('node:fs');
    writeSync(2, `${line}\n`);
  } catch {
    // stderr is closed or full: a log line is never worth an exception in the app
  }
}

/** NODE_DEBUG names fastsocket. */
export function debugging(): boolean {
  enabled ??= debugEnabled();
  return enabled;
}

/** Writes a line to stderr when NODE_DEBUG names fastsocket. printf-style arguments cost nothing otherwise. */
export function debug(format: string, ...args: unknown[]): void {
  if (!debugging()) return;
  const { format: print } = require('node:util') as typeof import('node:util');
  write(`FASTSOCKET ${process.pid}: ${print(format, ...args)}`);
}

const said = new Set<string>();

/** The same, once for each format in this process. */
export function debugOnce(format: string, ...args: unknown[]): void {
  if (!debugging() || said.has(format)) return;
  said.add(format);
  debug(format, ...args);
}

/** The one line on stderr that a user sees when the hook had to stay inactive. Never on stdout. */
export function say(message: string): void {
  write(message.startsWith('fastsocket: ') ? message : `fastsocket: ${message}`);
}
