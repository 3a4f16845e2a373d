// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compiled as compile } from '../../bench/lib/compiled';
import { root } from './app';

/**
 * The program that <name>.c makes, of test/native or of bench/native (tests use benchmarks' programs, never the other way
 * round); compiled at the first use.
 * @throws Error with the compiler's output
 */
export function compiled(name: string): string {
  const own = join('test', 'native', `${name}.c`);
  return compile(existsSync(join(root, own)) ? own : join('bench', 'native', `${name}.c`));
}
