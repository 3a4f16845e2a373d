// SPDX-License-Identifier: Apache-2.0
// A v2 control group on a machine whose controllers may all be in v1: the mount, the group and who is in it are the kernel's,
// the files that name limits are the test's, bound over the group in a mount namespace of the app's own. Root only.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parseGroupMounts } from '../../lib/cpu/cgroup-paths';
import { readText } from '../../lib/cpu/read';
import { lives, until } from './app';
import { temporaryFolder } from './temporary';

const MOUNT = '/sys/fs/cgroup';
const ONLY_UNIFIED = `umount -lR ${MOUNT}\nmount -t cgroup2 none ${MOUNT}\n`;

const outside = parseGroupMounts(readText('/proc/self/mountinfo') ?? '').find(
  ({ unified, root }) => unified && root === '/',
)?.mountPoint;

/** Option of a test that needs such groups. */
export function needsUnified(): { skip: false | string } {
  const skip = 'needs root, a mount namespace and a cgroup2 mount without limits of its own';
  if (process.getuid?.() !== 0 || outside === undefined) return { skip };
  // a container's own group
  if (['cpu.max', 'memory.max'].some((file) => readText(`${outside}/${file}`) !== undefined)) return { skip };
  return { skip: spawnSync('unshare', ['-m', 'sh', '-ec', ONLY_UNIFIED]).status !== 0 && skip };
}

let made = 0;

/** A group, and one more below it, which the app is in; gone after the test. */
export class UnifiedGroup {
  private readonly name = `fastsocket-unified-${process.pid}-${++made}`;
  private readonly outer = `${outside}/${this.name}`;
  private readonly files = temporaryFolder('unified');

  constructor(t: TestContext) {
    mkdirSync(`${this.outer}/inner`, { recursive: true });
    mkdirSync(join(this.files, 'inner'));
    t.after(() => this.remove());
  }

  /** What stands in a file of the app's own group. */
  own(file: string, text: string): this {
    writeFileSync(join(this.files, 'inner', file), `${text}\n`);
    return this;
  }

  /** The same of the group above. */
  above(file: string, text: string): this {
    writeFileSync(join(this.files, file), `${text}\n`);
    return this;
  }

  /** Where the app finds its group. */
  get path(): string {
    return `${MOUNT}/${this.name}/inner`;
  }

  /** Words before a command that start it in the group. */
  get prefix(): string[] {
    const enter = `echo $$ > ${this.path}/cgroup.procs\nmount --bind ${this.files} ${MOUNT}/${this.name}\n`;
    return ['unshare', '-m', 'sh', '-ec', `${ONLY_UNIFIED}${enter}exec "$0" "$@"`];
  }

  private async remove(): Promise<void> {
    await until(() => {
      const pids = readFileSync(`${this.outer}/inner/cgroup.procs`, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(Number);
      for (const pid of pids) if (lives(pid)) process.kill(pid, 'SIGKILL');
      return pids.length === 0;
    }, 'an empty group');
    await until(() => this.removed(), 'the end of the group');
  }

  /** A process has left its group some time after it has left the list. */
  private removed(): boolean {
    try {
      for (const folder of [`${this.outer}/inner`, this.outer]) if (existsSync(folder)) rmdirSync(folder);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
      return false;
    }
  }
}
