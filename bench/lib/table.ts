// SPDX-License-Identifier: Apache-2.0
// The part of the tables that all benchmarks of one server have in common.
import { columns, fixed, intervalName, percent, ratios, ratioText, whole } from './columns';
import type { Comparison, Measured } from './compare';
import type { Measure } from './load/run';
import { median, medianInterval } from './stats';
import { FASTSOCKET, NGINX } from './variants';

export interface Column<M> {
  /** Two lines. */
  head: readonly [string, string];
  cell(measured: Measured<M>, plain: Measured<M>): string;
}

export const series = <M>({ measures }: Measured<M>, value: (measure: M) => number | undefined) =>
  measures.map(value);

export const cpuUs = ({ cpuUs }: Measure): number => cpuUs;

export function cpuColumn(unit: string): Column<Measure> {
  return {
    head: ['CPU per', unit],
    cell: (measured) => fixed(median(series(measured, cpuUs)), 1, ' us'),
  };
}

export function perSecondColumn(unit: string): Column<Measure> {
  return {
    head: [unit, 'per second'],
    cell: (measured) => whole(median(series(measured, (m) => m.perSecond))),
  };
}

export function ratioColumn<M>(
  head: string,
  rounds: number,
  value: (measure: M) => number | undefined,
): Column<M> {
  return {
    head: [head, `(${intervalName(rounds)})`],
    cell: (measured, plain) =>
      measured === plain ? '1' : ratioText(series(measured, value), series(plain, value)),
  };
}

export const failedColumn: Column<Measure> = {
  head: ['', 'failed'],
  cell: ({ measures }) => whole(measures.reduce((sum, { failed }) => sum + failed, 0)),
};

export const busyColumn: Column<Measure> = {
  head: ['core', 'busy'],
  cell: (measured) => percent(median(series(measured, (m) => m.busy))),
};

/** Above this share of the server's core used by others a table says so. */
const DISTURBED = 0.05;

function footnotes({ variants, remarks }: Comparison<Measure>): string[] {
  const all = variants.flatMap(({ measures }) => measures);
  const disturbed = all.filter(({ foreign }) => foreign > DISTURBED).length;
  const failure = all.find((measure) => measure.failure !== undefined)?.failure;
  const fast = variants.find(({ name }) => name === FASTSOCKET);
  const nginx = variants.find(({ name }) => name === NGINX);
  const notes = [...remarks];
  if (fast && nginx)
    notes.unshift(
      `CPU of fastsocket against nginx: ${ratioText(series(fast, cpuUs), series(nginx, cpuUs))} times`,
    );
  if (failure !== undefined) notes.push(`first failure: ${failure}`);
  if (disturbed > 0)
    notes.push(
      `in ${disturbed} of ${all.length} measures something else used more than ${percent(DISTURBED)} of the server's core`,
    );
  return notes;
}

/** One line a variant, compared with the first, and lines about what must be known. */
export function table<M extends Measure>(
  title: string,
  comparison: Comparison<M>,
  list: readonly Column<M>[],
): string {
  const plain = comparison.variants[0] as Measured<M>;
  const rows = [
    ['', ...list.map(({ head }) => head[0])],
    ['', ...list.map(({ head }) => head[1])],
    ...comparison.variants.map((measured) => [
      measured.name,
      ...list.map(({ cell }) => cell(measured, plain)),
    ]),
  ];
  const notes = footnotes(comparison).map((note) => `  ${note}`);
  return [title, columns(rows), ...notes, ''].join('\n');
}

/** For programs: the medians, and of `value` the ratio to the first variant with its interval. */
export function summary<M extends Measure>(
  { variants }: Comparison<M>,
  value: (measure: M) => number | undefined = cpuUs,
): unknown[] {
  const plain = variants[0] as Measured<M>;
  return variants.map((measured) => {
    const all = ratios(series(measured, value), series(plain, value));
    return {
      name: measured.name,
      value: median(series(measured, value)),
      perSecond: median(series(measured, ({ perSecond }) => perSecond)),
      ratio: median(all),
      interval: medianInterval(all),
    };
  });
}
