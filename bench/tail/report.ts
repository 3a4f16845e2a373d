// SPDX-License-Identifier: Apache-2.0
// Measures to tables and to a drawing. Pure.
import type { Chart } from '../lib/chart';
import { columns, fixed, whole } from '../lib/columns';
import type { Comparison, Measured } from '../lib/compare';
import { median, medianInterval, type Series } from '../lib/stats';
import { type Limits, rule, type Tries } from './clean';
import type { Quantiles, TailMeasure } from './measure';

/** One load on so many workers of each server. */
export interface Cell {
  workers: number;
  blockMs: number;
  comparison: Comparison<Tries<TailMeasure>>;
}

type Tried = Measured<Tries<TailMeasure>>;
type Value = (measure: TailMeasure) => number | undefined;

const QUANTILES: readonly (readonly [name: string, key: keyof Quantiles])[] = [
  ['p50', 'p50'],
  ['p90', 'p90'],
  ['p99', 'p99'],
  ['p99.9', 'p999'],
  ['max', 'max'],
];

/** What counts, one for each round; undefined where nothing did. */
const seriesOf = ({ measures }: Tried, value: Value): Series =>
  measures.map(({ kept }) => kept && value(kept));

const ms =
  (key: keyof Quantiles): Value =>
  ({ latencyUs }) =>
    latencyUs ? latencyUs[key] / 1_000 : undefined;

/** With those that were discarded: what failed, has. */
const allOf = ({ measures }: Tried): TailMeasure[] =>
  measures.flatMap(({ kept, discarded }) => [
    ...(kept ? [kept] : []),
    ...discarded.map(({ measure }) => measure),
  ]);

const sum = (measures: readonly TailMeasure[], value: (measure: TailMeasure) => number): number =>
  measures.reduce((total, measure) => total + value(measure), 0);

const keptOf = ({ measures }: Tried): number => measures.filter(({ kept }) => kept).length;
const discardedOf = ({ measures }: Tried): number =>
  measures.reduce((total, { discarded }) => total + discarded.length, 0);

function rowOf(tried: Tried): string[] {
  return [
    tried.name,
    ...QUANTILES.map(([, key]) => fixed(median(seriesOf(tried, ms(key))), 2)),
    fixed(median(seriesOf(tried, ({ cpuUs }) => cpuUs)), 0, ' us'),
    `${keptOf(tried)} of ${tried.measures.length}`,
    whole(discardedOf(tried)),
    whole(sum(allOf(tried), ({ failed }) => failed)),
  ];
}

function footnotes({ variants, remarks }: Comparison<Tries<TailMeasure>>, limits: Limits): string[] {
  const all = variants.flatMap(allOf);
  const { length } = variants.flatMap(({ measures }) => measures.flatMap(({ discarded }) => discarded));
  const slow = sum(all, ({ slowFailed }) => slowFailed);
  const wrong = sum(all, (measure) => measure.wrong);
  const failure = all.find((measure) => measure.failure !== undefined)?.failure;
  const kept = variants.flatMap(({ measures }) => measures.flatMap((tries) => tries.kept ?? []));
  const foreign = median(kept.map((measure) => measure.foreign));
  const late = median(kept.map(({ lateMs }) => lateMs));
  return [
    ...remarks,
    ...(length > 0 ? [`${length} of ${all.length} measures were discarded: ${rule(limits)}`] : []),
    ...(kept.length > 0
      ? [
          `of those that count, medians: others used ${fixed(foreign && foreign * 100, 0)} % of a core, the load was ${fixed(late, 2)} ms late at p99.9 (${kept[0]?.priority})`,
        ]
      : []),
    ...(slow > 0 ? [`${slow} slow requests failed`] : []),
    ...(wrong > 0 ? [`${wrong} answers were wrong`] : []),
    ...(failure === undefined ? [] : [`first failure: ${failure}`]),
  ];
}

export function cellTable(
  title: string,
  comparison: Comparison<Tries<TailMeasure>>,
  limits: Limits,
  unit: string,
): string {
  const rows = [
    ['latency in ms', ...QUANTILES.map(() => ''), 'CPU per', 'rounds', 'measures', ''],
    ['', ...QUANTILES.map(([name]) => name), unit, 'that count', 'discarded', 'failed'],
    ...comparison.variants.map(rowOf),
  ];
  const notes = footnotes(comparison, limits).map((note) => `  ${note}`);
  return [title, columns(rows), ...notes, ''].join('\n');
}

/** For programs: medians of what counts, with the interval of each. */
export function tailSummary({ variants }: Comparison<Tries<TailMeasure>>): unknown[] {
  const of = (tried: Tried, value: Value) => {
    const series = seriesOf(tried, value);
    return { median: median(series), interval: medianInterval(series) };
  };
  return variants.map((tried) => ({
    name: tried.name,
    ms: Object.fromEntries(QUANTILES.map(([, key]) => [key, of(tried, ms(key))])),
    cpuUs: of(tried, ({ cpuUs }) => cpuUs),
    kept: keptOf(tried),
    discarded: discardedOf(tried),
    failed: sum(allOf(tried), ({ failed }) => failed),
    slowFailed: sum(allOf(tried), ({ slowFailed }) => slowFailed),
  }));
}

/** A panel for each load, a line for each server: each further quantile is of ten times fewer requests. */
export function drawing(
  title: string,
  cells: readonly Cell[],
  xName = 'of the requests that are not slow',
): Chart {
  const xNames = new Map(QUANTILES.map(([name], index) => [index, name]));
  return {
    title,
    xName,
    xNames,
    yName: 'latency in ms',
    across: Math.max(1, new Set(cells.map(({ blockMs }) => blockMs)).size),
    panels: cells.map(({ workers, blockMs, comparison }) => ({
      title: `${workers} workers, ${blockMs} ms`,
      lines: comparison.variants.map((tried) => ({
        name: tried.name,
        points: QUANTILES.flatMap(([, key], index): [number, number][] => {
          const y = median(seriesOf(tried, ms(key)));
          return y === undefined || !(y > 0) ? [] : [[index, y]];
        }),
      })),
    })),
  };
}
