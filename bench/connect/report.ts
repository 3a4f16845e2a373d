// SPDX-License-Identifier: Apache-2.0
// Measures to tables and to a drawing. Pure.
import type { Chart, Line, Panel } from '../lib/chart';
import { columns, fixed, whole } from '../lib/columns';
import type { Comparison, Measured } from '../lib/compare';
import { median } from '../lib/stats';
import { type Column, cpuColumn, cpuUs, failedColumn, ratioColumn, series, table } from '../lib/table';
import type { ConnectMeasure } from './measure';
import { type Holder, type PortRange, sizeOf, TITLES } from './plan';

/** One share of ports, held in one way. */
export interface Cell {
  range: PortRange;
  /** Where nothing is held it is of no matter who does not. */
  holder: Holder;
  share: number;
  comparison: Comparison<ConnectMeasure>;
}

type Value = (measure: ConnectMeasure) => number;
const roundTrip: Value = ({ roundTripUs }) => roundTripUs;
export const call: Value = ({ callUs }) => callUs;
const QUANTITIES: readonly [name: string, value: Value][] = [
  ['round trip', roundTrip],
  ['connect call', call],
];

function micros(head: readonly [string, string], value: Value): Column<ConnectMeasure> {
  return { head, cell: (measured) => fixed(median(series(measured, value)), 1, ' us') };
}

export function cellTable(title: string, comparison: Comparison<ConnectMeasure>, rounds: number): string {
  return table(title, comparison, [
    micros(['round', 'trip'], roundTrip),
    ratioColumn('against plain', rounds, roundTrip),
    micros(['connect', 'call'], call),
    ratioColumn('against plain', rounds, call),
    cpuColumn('connection') as Column<ConnectMeasure>,
    ratioColumn('against plain', rounds, cpuUs),
    failedColumn as Column<ConnectMeasure>,
  ]);
}

const cellsOf = (cells: readonly Cell[], { low, high }: PortRange): Cell[] =>
  cells.filter(({ range }) => range.low === low && range.high === high);

/** Its holder's, and that where nothing is held. */
function sharesOf(cells: readonly Cell[], holder: Holder): Cell[] {
  return cells.filter((cell) => cell.share === 0 || cell.holder === holder).sort((a, b) => a.share - b.share);
}

const medianOf = (measured: Measured<ConnectMeasure> | undefined, value: Value): number | undefined =>
  measured && median(series(measured, value));

const holdersOf = (cells: readonly Cell[]): Holder[] => [
  ...new Set(cells.filter(({ share }) => share > 0).map(({ holder }) => holder)),
];

export function rangeTitle(range: PortRange): string {
  return `${range.low}-${range.high}, ${whole(sizeOf(range))} ports`;
}

/** All medians of a range: a line for each share, a column for each variant of each quantity. */
export function overview(all: readonly Cell[], range: PortRange): string {
  const cells = cellsOf(all, range);
  const names = cells[0]?.comparison.variants.map(({ name }) => name) ?? [];
  const rowOf = (label: string, { comparison }: Cell): string[] => [
    label,
    ...QUANTITIES.flatMap(([, value]) =>
      comparison.variants.map((measured) => fixed(medianOf(measured, value), 1, ' us')),
    ),
  ];
  const rows = [
    ['held', ...QUANTITIES.flatMap(([quantity]) => names.map(() => quantity))],
    ['', ...QUANTITIES.flatMap(() => names)],
    ...cells
      .filter(({ share }) => share === 0)
      .slice(0, 1)
      .map((cell) => rowOf('nothing', cell)),
    ...holdersOf(cells).flatMap((holder) =>
      sharesOf(cells, holder)
        .filter(({ share }) => share > 0)
        .map((cell) => rowOf(`${cell.share} % ${TITLES[holder]}`, cell)),
    ),
  ];
  return [`${rangeTitle(range)}, medians`, columns(rows), ''].join('\n');
}

/** For the little room above a panel. */
const SHORT: Readonly<Record<Holder, string>> = {
  own: 'its own',
  strangers: 'of others',
  'time-wait': 'TIME_WAIT',
};

function linesOf(cells: readonly Cell[], value: Value): Line[] {
  const names = cells[0]?.comparison.variants.map(({ name }) => name) ?? [];
  return names.map((name) => ({
    name,
    points: cells.flatMap(({ share, comparison }): [number, number][] => {
      const y = medianOf(
        comparison.variants.find((measured) => measured.name === name),
        value,
      );
      return y === undefined || !(y > 0) ? [] : [[share, y]];
    }),
  }));
}

/** A row for each range and quantity, a column for each holder. */
export function drawing(title: string, all: readonly Cell[], ranges: readonly PortRange[]): Chart {
  const holders = holdersOf(all);
  const shown: readonly Holder[] = holders.length > 0 ? holders : ['own'];
  const panels = ranges.flatMap((range) =>
    QUANTITIES.flatMap(([quantity, value]) =>
      shown.map((holder): Panel => {
        const what = holders.length > 0 ? SHORT[holder] : 'nothing held';
        const cells = sharesOf(cellsOf(all, range), holder);
        return { title: `${whole(sizeOf(range))} ports, ${quantity}, ${what}`, lines: linesOf(cells, value) };
      }),
    ),
  );
  return {
    title,
    xName: '% of the ports held',
    yName: 'us per connection',
    across: shown.length,
    panels,
  };
}
