// SPDX-License-Identifier: Apache-2.0
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixture, root } from './app';

/** A copy of the package as it is published, its addon left out. */
export class PackageWithoutAddon {
  private readonly folder = mkdtempSync(join(tmpdir(), 'fastsocket-bare-'));

  constructor() {
    // apps that drop their user start their copies as that one
    chmodSync(this.folder, 0o755);
    for (const name of ['package.json', 'dist'])
      cpSync(join(root, name), join(this.folder, name), { recursive: true });
  }

  get hook(): string {
    return join(this.folder, 'dist', 'register.cjs');
  }

  /** Flags that make an app run by each of the means that this Node has, by what the notice calls them. */
  get means(): Record<string, string[]> {
    const { binding } = process as unknown as { binding(name: string): { constants: object } };
    const reusePort = 'UV_TCP_REUSEPORT' in binding('tcp_wrap').constants;
    return {
      ...(reusePort ? { 'a reusePort socket each': ['-r', this.hook] } : {}),
      'one shared socket': ['-r', fixture('old-node.cjs'), '-r', this.hook],
    };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
