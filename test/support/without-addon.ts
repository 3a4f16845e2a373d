// SPDX-License-Identifier: Apache-2.0
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './app';

/** A copy of the package as it is published, its addon left out. */
export class PackageWithoutAddon {
  private readonly folder = mkdtempSync(join(tmpdir(), 'fastsocket-bare-'));

  constructor() {
    for (const name of ['package.json', 'dist'])
      cpSync(join(root, name), join(this.folder, name), { recursive: true });
  }

  get hook(): string {
    return join(this.folder, 'dist', 'register.cjs');
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
