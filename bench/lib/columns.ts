// SPDX-License-Identifier: Apache-2.0
// Tables of text.
import { FEWEST_FOR_INTERVAL, median, medianInterval, type Series } from './stats';

/** The first column to the left, the others to the right; two spaces between them and before the first. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  const pad = (cell: string, i: number) =>
    i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0);
  return rows.map((row) => `  ${row.map(pad).join('  ')}`.trimEnd()).join('\n');
}

const NONE = 'n/a';

export function fixed(value: number | undefined, digits: number, unit = ''): string {
  return value === undefined || !Number.isFinite(value) ? NONE : `${value.toFixed(digits)}${unit}`;
}

/** With thousands marked. */
export function whole(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? NONE : Math.round(value).toLocaleString('en-US');
}

export function percent(share: number | undefined): string {
  return share === undefined || !Number.isFinite(share) ? NONE : `${Math.round(share * 100)} %`;
}

/** Round by round: only what was measured within one round is divided by each other. */
export function ratios(series: Series, base: Series): number[] {
  return series.flatMap((value, round) => {
    const divisor = base[round];
    return value === undefined || !divisor ? [] : [value / divisor];
  });
}

/** Median of the ratios and where the true one lies: `0.68 (0.66-0.70)`. */
export function ratioText(series: Series, base: Series): string {
  const all = ratios(series, base);
  const interval = medianInterval(all);
  if (!interval) return NONE;
  return `${fixed(median(all), 2)} (${interval.map((end) => end.toFixed(2)).join('-')})`;
}

/** What stands in the parentheses of ratioText(). */
export function intervalName(rounds: number): string {
  return rounds < FEWEST_FOR_INTERVAL ? 'least-most' : '95 % interval';
}
