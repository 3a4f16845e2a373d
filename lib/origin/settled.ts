// SPDX-License-Identifier: Apache-2.0

/** After a start, a reload or a signal an app may still be opening what it is going to open. */
export const SETTLES_MS = 10_000;

/** Whether the app has been as it is for a while. */
export class Settled {
  private changedAt = performance.now();

  /** Something has happened that may be followed by more. */
  changed(): void {
    this.changedAt = performance.now();
  }

  get now(): boolean {
    return performance.now() - this.changedAt >= SETTLES_MS;
  }
}
