// SPDX-License-Identifier: Apache-2.0
// Figures to one table. Pure.
import { median, ratio, type Series } from '../lib/stats';
import type { Figures, LoadName, ModeName, ModeSummary, Part, Summary } from './types';
import { LOADS } from './types';

export const MODE_TITLES: Record<ModeName, string> = {
  plain: 'plain Node',
  cluster: 'cluster',
  fastsocket: 'fastsocket',
};

/** More lines than this in a cell become one line with the range. */
const PARTS_SHOWN = 4;
const GAP = '   ';

const grouped = (value: number): string => Math.round(value).toLocaleString('en-US');
const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** Three significant digits, as far as a latency deserves them. */
function milliseconds(value: number): string {
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)} ms`;
}

/** The median; for all modes but plain Node also what it is to plain Node's, round by round. */
function cell(series: Series, base: Series | undefined, format: (value: number) => string): string {
  const value = median(series);
  if (value === undefined) return 'n/a';
  const relative = base && base !== series ? ratio(series, base) : undefined;
  return relative ? `${format(value)} (${relative.median.toFixed(2)}x)` : format(value);
}

/** Lines such as `cpu0 5,012 (50 %)`. */
export function partLines(parts: readonly Part[]): string[] {
  if (parts.length === 0) return ['n/a'];
  if (parts.length <= PARTS_SHOWN) {
    return parts.map(
      ({ label, connections, share }) => `${label} ${grouped(connections)} (${percent(share)})`,
    );
  }
  const shares = parts.map(({ share }) => share * 100);
  const range = `${Math.min(...shares).toFixed(1)}-${Math.max(...shares).toFixed(1)} %`;
  return [`${parts.length}: ${range} each`];
}

type Row = { label: string; cells: string[][] };

interface LoadText {
  title: (summary: Summary) => string;
  unit: string;
}

const LOAD_TEXTS: Record<LoadName, LoadText> = {
  short: {
    title: ({ connections }) => `Short connections, one request each, ${connections} at a time (autocannon)`,
    unit: 'connection',
  },
  keepAlive: {
    title: ({ connections }) => `Keep-alive, ${connections} connections (autocannon)`,
    unit: 'request',
  },
  undici: {
    title: ({ connections }) => `Keep-alive, a pool of ${connections} connections (undici)`,
    unit: 'request',
  },
};

function loadRows(summary: Summary, load: LoadName): Row[] {
  const plain = summary.modes.find(({ mode }) => mode === 'plain')?.loads[load];
  const each = (text: (figures: Figures) => string | string[]): string[][] =>
    summary.modes.map(({ loads }) => [text(loads[load])].flat());
  const { unit } = LOAD_TEXTS[load];
  return [
    { label: `${unit}s per second`, cells: each((f) => cell(f.perSecond, plain?.perSecond, grouped)) },
    {
      label: `CPU per ${unit}`,
      cells: each((f) => cell(f.cpuUs, plain?.cpuUs, (us) => `${Math.round(us)} us`)),
    },
    { label: 'p99', cells: each((f) => cell(f.p99Ms, undefined, milliseconds)) },
    { label: 'connections per process', cells: each((f) => partLines(f.perProcess)) },
    { label: 'connections per core', cells: each((f) => partLines(f.perCore)) },
    { label: 'local connections', cells: each((f) => (f.local === undefined ? 'n/a' : percent(f.local))) },
    {
      label: 'CPU used by the servers',
      cells: each((f) => cell(f.serversBusy, undefined, (c) => `${c.toFixed(2)} cores`)),
    },
    { label: 'CPU used by the client', cells: each((f) => cell(f.clientBusy, undefined, percent)) },
  ];
}

function heading({ mode, serving, rootServes }: ModeSummary): string[] {
  const processes = serving === 1 ? '1 process' : `${serving} processes`;
  const inactive = mode === 'fastsocket' && rootServes ? ', not active' : '';
  return [MODE_TITLES[mode], `${processes}${inactive}`];
}

function widths(rows: readonly Row[]): number[] {
  const columns = Math.max(...rows.map(({ cells }) => cells.length));
  return Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.flatMap(({ cells }) => (cells[column] ?? []).map((c) => c.length))),
  );
}

function print({ label, cells }: Row, labelWidth: number, columns: readonly number[]): string[] {
  const lines = Math.max(1, ...cells.map((cell) => cell.length));
  return Array.from({ length: lines }, (_, line) => {
    const texts = columns.map((width, column) => (cells[column]?.[line] ?? '').padEnd(width));
    return [(line === 0 ? label : '').padEnd(labelWidth), ...texts].join(GAP).trimEnd();
  });
}

/** The whole table; in parentheses what a figure is to plain Node's of the same round. No line ends in spaces. */
export function table(summary: Summary): string {
  const head: Row = { label: '', cells: summary.modes.map(heading) };
  const groups = LOADS.map((load) => ({
    title: LOAD_TEXTS[load].title(summary),
    rows: loadRows(summary, load),
  }));
  const rows = [head, ...groups.flatMap((group) => group.rows)];
  const labelWidth = Math.max(...rows.map(({ label }) => label.length)) + 2;
  const columns = widths(rows);
  const lines = print(head, labelWidth, columns);
  const rule = '-'.repeat(labelWidth + columns.reduce((sum, width) => sum + GAP.length + width, 0));
  for (const { title, rows } of groups) {
    lines.push(rule, title);
    for (const row of rows) lines.push(...print({ ...row, label: `  ${row.label}` }, labelWidth, columns));
  }
  return [...lines, rule].join('\n');
}
