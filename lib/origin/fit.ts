// SPDX-License-Identifier: Apache-2.0
import type { MemoryKills } from '../cpu/memory-kills';
import { copiesThatFit, type MemoryUse } from '../cpu/memory-use';
import { debug } from '../log';

/** Where there is no memory for more, it takes a while until there is; to look means to read of each process. */
export const FULL_MS = 10_000;
/** A process has been killed for want of memory: what there is weighs more than was seen. */
export const KILLED_MS = 3_600_000;

export interface FitOptions {
  kills: Pick<MemoryKills, 'more'>;
  /** Undefined where that cannot be told. */
  use(): MemoryUse | undefined;
  /** The app's size before it served; undefined: not known. */
  sizeBytes(): number | undefined;
}

/** How many more copies the memory limit has room for, by what the processes weigh now. */
export class Fit {
  private notBefore = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: FitOptions) {}

  /** @param now by performance.now() */
  more(limitBytes: number | undefined, now = performance.now()): number {
    if (now < this.notBefore) return 0;
    const { kills, use, sizeBytes } = this.options;
    if (kills.more()) return this.none(now + KILLED_MS, 'a process was killed for want of memory');
    if (limitBytes === undefined) return Number.POSITIVE_INFINITY;
    const used = use();
    if (!used) return this.none(now + FULL_MS, 'what the processes have in memory is not known');
    const fit = copiesThatFit(limitBytes, sizeBytes() ?? 0, used);
    return fit > 0 ? fit : this.none(now + FULL_MS, 'there is no memory for another one');
  }

  private none(notBefore: number, why: string): number {
    this.notBefore = notBefore;
    debug('no more workers for %d s: %s', Math.round((notBefore - performance.now()) / 1000), why);
    return 0;
  }
}
