// SPDX-License-Identifier: Apache-2.0

/** A reload may take its time: servers that close wait for the connections that they have. */
export const SURPLUS_MS = 30_000;

/** More workers than CPUs: for a while, as in a reload, or because the app wants so many. Time alone can tell. */
export class Surplus {
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param exists whether somebody has no CPU now, while others have one
   * @param lasts there has been somebody all the time
   */
  constructor(
    private readonly exists: () => boolean,
    private readonly lasts: () => void,
  ) {}

  /** Somebody has come, or gone. */
  look(): void {
    if (!this.exists()) {
      clearTimeout(this.timer);
      this.timer = undefined;
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.exists()) this.lasts();
    }, SURPLUS_MS).unref();
  }
}
