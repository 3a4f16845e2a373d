// SPDX-License-Identifier: Apache-2.0
// The hook with the build of the addon that has fail points (native/failpoint.h).
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { addonFile } from '../../bench/lib/addon';
import { root, until } from './app';
import { temporaryFolder } from './temporary';

const BUILT = join(root, 'build', 'failpoints', 'fastsocket.node');

export class Failpoints {
  private readonly folder = temporaryFolder('failpoints');
  /** Flags of node that load the hook. */
  readonly hook: string[];
  readonly addon: string;

  constructor() {
    // a package of its own: the hook loads the addon that lies beside it
    const platform = basename(dirname(addonFile()));
    this.addon = join(this.folder, 'prebuilds', platform, 'fastsocket.node');
    cpSync(BUILT, this.addon);
    for (const name of ['package.json', 'dist'])
      cpSync(join(root, name), join(this.folder, name), { recursive: true });
    this.hook = ['-r', join(this.folder, 'dist', 'register.cjs')];
  }

  /** @param points as in native/failpoint.h, `name=action@hit`; the folder comes by itself */
  environment(points: readonly string[]): Record<string, string> {
    return { FASTSOCKET_FAILPOINTS: `${this.folder}:${points.join(',')}`, ADDON: this.addon };
  }

  /**
   * From now on: whatever comes to a point before, such as a worker that is slow to start, does not count.
   * @param pid nobody else counts
   */
  arm(pid?: number): void {
    // by rename: with what is in it at once
    writeFileSync(join(this.folder, 'arms'), pid === undefined ? '' : `${pid}`);
    renameSync(join(this.folder, 'arms'), join(this.folder, 'armed'));
  }

  /** Who has come to that point, in order. */
  pids(name: string): number[] {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean).map(Number) : [];
  }

  /** The pid of the `hit`-th. */
  reached(name: string, hit = 1): Promise<number> {
    return until(
      () => this.pids(name)[hit - 1],
      () => `${name} is reached ${hit} times; there are ${readdirSync(this.folder)}`,
    );
  }

  /** Whoever is held there goes on. */
  go(name: string): void {
    writeFileSync(join(this.folder, `${name}.go`), '');
  }
}
