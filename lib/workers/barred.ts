// SPDX-License-Identifier: Apache-2.0

/** So many attempts in a row to start a worker may fail before it is taken for one that cannot be started. */
export const TRIES = 3;
/** Whatever keeps it from starting, a file that its user may not read for one, is seldom mended by itself. */
export const BARRED_MS = 600_000;

/**
 * Workers that cannot be started any more since the app has given up the privileges that it was started with: that is
 * said once, not at each attempt, and attempts become rare.
 */
export class Barred {
  private readonly failures = new Map<number, number>();
  private said = false;

  /**
   * @param user who the app has become, undefined: nobody else
   * @param say one line on stderr
   */
  constructor(
    private readonly user: () => string | undefined,
    private readonly say: (line: string) => void,
  ) {}

  /** Worker `index` serves. */
  served(index: number): void {
    this.failures.delete(index);
    if (this.failures.size === 0) this.said = false;
  }

  /**
   * Worker `index` has ended before it served, or no process came to be.
   * @returns how long to wait before the next attempt, in ms, at least
   */
  failed(index: number, how: string): number {
    const user = this.user();
    if (user === undefined) return 0;
    const failures = (this.failures.get(index) ?? 0) + 1;
    this.failures.set(index, failures);
    if (failures < TRIES) return 0;
    if (!this.said)
      this.say(
        `worker ${index} cannot be started again as ${user}, which the app has become: it ${how}; its share goes to the others, and it is tried again every ${BARRED_MS / 60_000} minutes`,
      );
    this.said = true;
    return BARRED_MS;
  }
}
