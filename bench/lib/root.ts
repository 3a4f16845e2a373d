// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

function find(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : find(dirname(folder));
}

/** The package's root folder: this file runs from the compiled tree below it. */
export const root = find(__dirname);
/** What `-r fastsocket/register` loads. */
export const hook = join(root, 'dist', 'register.cjs');
