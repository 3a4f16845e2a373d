// SPDX-License-Identifier: Apache-2.0

/** Reads a small text file; undefined where it cannot be read, for whatever reason. */
export type ReadText = (path: string) => string | undefined;

/** The real thing, for /proc and /sys. `node:fs` is loaded at the first call. */
export const readText: ReadText = (path) => {
  const { readFileSync } = require('node:fs') as typeof import('node:fs');
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // No such file, no permission, no /sys at all: all mean "not known" to every caller.
    return undefined;
  }
};
