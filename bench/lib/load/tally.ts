// SPDX-License-Identifier: Apache-2.0
import type { Outcome } from './clients';

/** Counts what a client of this process sees, and prints it when it is over. */
export class Tally {
  private answered = 0;
  private failed = 0;
  private failure: string | undefined;
  private readonly started = performance.now();

  answer(): void {
    this.answered++;
  }

  fail(why: string): void {
    this.failed++;
    this.failure ??= why;
  }

  print(): void {
    const seconds = (performance.now() - this.started) / 1000;
    const { answered, failed, failure } = this;
    const outcome: Outcome = { answered, failed, seconds, ...(failure === undefined ? {} : { failure }) };
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}
