// SPDX-License-Identifier: Apache-2.0
// What a benchmark hands to a program instead of a reader.
import { writeFileSync } from 'node:fs';
import { release } from 'node:os';
import type { Place } from './place';

/** Every measure of a run, in a file that is complete after each comparison: what was interrupted keeps what it has. */
export class Results {
  private readonly runs: unknown[] = [];

  constructor(
    private readonly file: string | undefined,
    private readonly about: { bench: string; options: unknown; place: Place },
  ) {}

  add(run: unknown): void {
    this.runs.push(run);
    if (this.file === undefined) return;
    const { bench, options, place } = this.about;
    const all = { bench, linux: release(), place: place.text, options, runs: this.runs };
    writeFileSync(this.file, `${JSON.stringify(all, undefined, 1)}\n`);
  }
}
