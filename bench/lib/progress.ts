// SPDX-License-Identifier: Apache-2.0
import type { WriteStream } from 'node:tty';

/** One line that is rewritten on a terminal; a line each step where stderr goes to a file. */
export class Progress {
  private readonly terminal: boolean;
  private drawn = false;

  constructor(private readonly stream: Pick<WriteStream, 'write'> & { isTTY?: boolean; columns?: number }) {
    this.terminal = stream.isTTY === true;
  }

  /** What happens right now; only a terminal shows it. */
  now(text: string): void {
    if (!this.terminal) return;
    // a line that wraps could not be taken back
    this.stream.write(`\r\x1b[K${text.slice(0, (this.stream.columns || 80) - 1)}`);
    this.drawn = true;
  }

  /** Something is done. */
  step(text: string): void {
    this.clear();
    this.stream.write(`${text}\n`);
  }

  clear(): void {
    if (this.drawn) this.stream.write('\r\x1b[K');
    this.drawn = false;
  }
}
