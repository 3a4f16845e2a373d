// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './app';

/**
 * The program that test/native/<name>.c makes; compiled at the first use.
 * @throws Error with the compiler's output
 */
export function compiled(name: string): string {
  const source = join(root, 'test', 'native', `${name}.c`);
  const binary = join(root, 'build', 'native', name);
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(root, 'build', 'native'), { recursive: true });
    const { status, stderr } = spawnSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', binary, source], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
  }
  return binary;
}
