// SPDX-License-Identifier: Apache-2.0
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './temporary';

/** What the processes of an app have noted, one line each: `<pid> <event>`. Appended, so no line is lost or torn. */
export class Ledger {
  readonly path: string;

  constructor() {
    const folder = temporaryFolder('ledger');
    this.path = join(folder, 'ledger');
    writeFileSync(this.path, '');
    // an app may give up its user
    chmodSync(folder, 0o777);
    chmodSync(this.path, 0o666);
  }

  get entries(): { pid: number; event: string }[] {
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
