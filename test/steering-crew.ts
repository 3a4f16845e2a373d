// SPDX-License-Identifier: Apache-2.0
import { type BalanceState, balance } from '../lib/steering/balance';

export const MS = 100;
export const NS = 1e6;

/** Workers whose figures are made up, interval by interval. */
export class Crew {
  state: BalanceState | undefined;
  readonly notes: string[] = [];
  readonly figures: { index: number; accepted: number; open: number; idle: number }[];

  constructor(n: number) {
    this.figures = Array.from({ length: n }, (_, i) => ({ index: i + 1, accepted: 0, open: 0, idle: 0 }));
  }

  /** One interval: what each accepts, has open in the end, and how busy it is. */
  next(of: (i: number) => { accepted: number; open: number; busy: number }): number[] {
    this.figures.forEach((figures, i) => {
      const { accepted, open, busy } = of(i);
      figures.accepted += accepted;
      figures.open = open;
      figures.idle += (1 - busy) * MS * NS;
    });
    return this.look();
  }

  look(elapsedMs = MS): number[] {
    const figures = this.figures.map((each) => ({ ...each }));
    const { state, note } = balance(this.state, figures, elapsedMs);
    this.state = state;
    if (note !== undefined) this.notes.push(note);
    return this.figures.map(({ index }) => state.factors[index] ?? 1);
  }
}
