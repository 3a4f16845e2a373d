// SPDX-License-Identifier: Apache-2.0
import type { Addon } from '../native/addon';
import type { WorkerFigures } from '../steering/balance';

/** Addon.balanceFigures: of the thread, and then of each seat. */
const OF_THREAD = 7;
const OF_SEAT = 11;

interface Row {
  turns: number;
  idleNs: number;
  /** What has been counted of a sleep that is not over, in ns. */
  early: number;
  /** All that has been counted. */
  counted: number;
}

/** What the workers have told, from the addon's list. */
export class FigureReader {
  private readonly rows: (Row | undefined)[] = [];

  /**
   * A worker says how long it has slept when it goes to sleep again. One whose loop has not turned since the last time has
   * slept all the while (turns are odd then), and says so later.
   */
  read(list: readonly number[], elapsedMs: number): WorkerFigures[] {
    const result: WorkerFigures[] = [];
    for (let index = 1; OF_THREAD + index * OF_SEAT <= list.length; index++) {
      const at = OF_THREAD + (index - 1) * OF_SEAT;
      const [joined, turns, accepted, , open, idleNs] = list.slice(at, at + OF_SEAT) as number[] as [
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      if (joined === 0) {
        this.rows[index] = undefined;
        continue;
      }
      const row = this.next(this.rows[index], turns, idleNs, elapsedMs);
      this.rows[index] = row;
      result.push({ index, accepted, open, idle: row.counted });
    }
    return result;
  }

  private next(before: Row | undefined, turns: number, idleNs: number, elapsedMs: number): Row {
    // another process has the seat
    if (!before || turns < before.turns || idleNs < before.idleNs)
      return { turns, idleNs, early: 0, counted: idleNs };
    const slept = idleNs - before.idleNs;
    const more = Math.max(0, slept - before.early);
    const early = Math.max(0, before.early - slept);
    const sleeps = turns === before.turns && turns % 2 === 1;
    const ahead = sleeps ? elapsedMs * 1e6 : 0;
    return { turns, idleNs, early: early + ahead, counted: before.counted + more + ahead };
  }
}

/** Looks at the workers' figures from time to time while connections come, and not at all while none do. */
export class Pulse {
  private readonly reader = new FigureReader();
  private timer: NodeJS.Timeout | undefined;
  private looks = -1;
  private last = 0;

  constructor(
    private readonly addon: Addon,
    private readonly beat: (figures: WorkerFigures[], elapsedMs: number) => void,
    private readonly everyMs: number,
  ) {
    addon.balanceNotify();
  }

  /** Something has come. */
  start(): void {
    if (this.timer) return;
    this.last = performance.now();
    this.timer = setInterval(() => this.look(), this.everyMs).unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private look(): void {
    const list = this.addon.balanceFigures();
    if (typeof list === 'number') return;
    const now = performance.now();
    const elapsed = now - this.last;
    this.last = now;
    const [looks = 0] = list;
    this.beat(this.reader.read(list, elapsed), elapsed);
    if (looks !== this.looks) {
      this.looks = looks;
      return;
    }
    this.stop();
    this.addon.balanceNotify();
  }
}
