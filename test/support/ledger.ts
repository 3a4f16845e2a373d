// SPDX-License-Identifier: Apache-2.0
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** What the processes of an app have noted, one line each: `<pid> <event>`. Appended, so no line is lost or torn. */
export class Ledger {
  readonly path: string;

  constructor(t: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'fastsocket-ledger-'));
    this.path = join(folder, 'ledger');
    writeFileSync(this.path, '');
    // an app may give up its user
    chmodSync(folder, 0o777);
    chmodSync(this.path, 0o666);
    t.after(() => rmSync(folder, { recursive: true, force: true }));
  }

  get entries(): { pid: number; event: string }[] {
    // hooks of the test's end may run after the one that removes it
    if (!existsSync(this.path)) return [];
    return readFileSync(this.path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const space = line.indexOf(' ');
        return { pid: Number(line.slice(0, space)), event: line.slice(space + 1) };
      });
  }

  /** Events of one process, in order. */
  of(pid: number): string[] {
    return this.entries.filter((entry) => entry.pid === pid).map(({ event }) => event);
  }

  count(event: string, pid?: number): number {
    return this.entries.filter((entry) => entry.event === event && (pid === undefined || entry.pid === pid))
      .length;
  }
}
