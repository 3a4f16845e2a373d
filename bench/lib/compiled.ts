// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { root } from './root';

/**
 * The program of one C file, given from the package's root; compiled at the first use.
 * @throws Error with the compiler's output
 */
export function compiled(source: string): string {
  const path = join(root, source);
  const binary = join(root, 'build', 'native', basename(source, '.c'));
  if (existsSync(binary) && statSync(binary).mtimeMs >= statSync(path).mtimeMs) return binary;
  mkdirSync(join(root, 'build', 'native'), { recursive: true });
  // by rename: another one may be starting the program just now
  const temporary = `${binary}.${process.pid}.tmp`;
  const words = ['-O2', '-Wall', '-Wextra', '-Werror', '-o', temporary, path, '-lm'];
  const { status, stderr, error } = spawnSync('cc', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(error ? `cc: ${error.message}` : stderr);
  renameSync(temporary, binary);
  return binary;
}
