// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './app';

const source = join(root, 'test', 'native', 'refuse.c');
const binary = join(root, 'build', 'native', 'refuse');

/**
 * Words to put before a program for which system calls fail: `setsockopt:2=51:EPERM` refuses one option.
 * Compiled at the first use.
 * @throws Error with the compiler's output
 */
export function refusing(...rules: string[]): string[] {
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(root, 'build', 'native'), { recursive: true });
    const { status, stderr } = spawnSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', binary, source], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
  }
  return [binary, ...rules, '--'];
}
