// SPDX-License-Identifier: Apache-2.0
// Figures to tables and to a drawing. Pure.
import type { Chart, Line, Panel } from '../lib/chart';
import { columns, fixed } from '../lib/columns';
import { combined, type Figures, figuresOf } from './figures';
import type { Scenario } from './scenarios';
import type { Run, Sample } from './simulate';

const HEAD: readonly (readonly string[])[] = [
  ['', 'settled', 'even', 'open', 'share of', 'factors', 'tables', 'most in', 'local'],
  ['', 'after', 'then', 'off by', 'a second', '', 'in all', 'a minute', ''],
];

const tenths = (part: number): string => fixed(part * 100, 1, ' %');

function row(name: string, { goal, skew }: Scenario, figures: Figures): string[] {
  const { settledS, inside, leastShare, mostShare, leastFactor, mostFactor } = figures;
  return [
    name,
    settledS === undefined ? 'never' : fixed(settledS, 1, ' s'),
    tenths(inside),
    // few open ones at a time are no picture
    goal === 'open' ? tenths(figures.openSpread) : '',
    `${fixed(leastShare, 2)}-${fixed(mostShare, 2)}`,
    `${fixed(leastFactor, 2)}-${fixed(mostFactor, 2)}`,
    String(figures.changes),
    String(figures.changesAMinute),
    skew === 'loopback' ? '' : tenths(figures.local),
  ];
}

const titleOf = ({ scenario: { workers, skew } }: Run): string => `${workers} workers, ${skew}`;

/** Two lines where there are several runs. */
function rows(title: string, runs: readonly Run[]): string[][] {
  const { scenario } = runs[0] as Run;
  const figures = runs.map(figuresOf);
  if (figures.length === 1) return [row(title, scenario, figures[0] as Figures)];
  return [
    row(title, scenario, combined(figures, 'median')),
    row(`  worst of ${runs.length}`, scenario, combined(figures, 'worst')),
  ];
}

/** One scenario, a line for each number of workers and skew: medians of the seeds, and the worst. */
export function scenarioTable(runs: readonly Run[]): string {
  const [first] = runs;
  if (!first) return '';
  const { name, about, goal } = first.scenario;
  const what = { open: 'open connections', busy: 'utilisation', share: "a second's connections" }[goal];
  const titles = [...new Set(runs.map(titleOf))];
  const lines = titles.flatMap((title) =>
    rows(
      title,
      runs.filter((run) => titleOf(run) === title),
    ),
  );
  return [`${name}: ${about}. To come even: ${what}`, columns([...HEAD, ...lines]), ''].join('\n');
}

/** So many points of each line. */
const POINTS = 15;
/** The axis is logarithmic: nothing at all is drawn as this. */
const NEXT_TO_NOTHING = 0.1;

function valuesOf({ goal }: Run['scenario'], { open, busy, share }: Sample): readonly number[] {
  return { open, busy: busy.map((each) => each + NEXT_TO_NOTHING), share }[goal];
}

function linesOf({ scenario, samples }: Run): Line[] {
  const every = samples.length / POINTS;
  const points = Array.from({ length: POINTS }, (_, i) => samples[Math.ceil((i + 1) * every) - 1] as Sample);
  const line = (name: string, of: (values: readonly number[]) => number): Line => ({
    name,
    points: points.map((sample) => [
      Math.round(sample.at),
      Math.max(NEXT_TO_NOTHING, of(valuesOf(scenario, sample))),
    ]),
  });
  return [line('most', (values) => Math.max(...values)), line('least', (values) => Math.min(...values))];
}

/** All to one scale of time would squeeze the short ones: one drawing a scenario. */
export function drawing(runs: readonly Run[]): Chart {
  const { name, goal } = (runs[0] as Run).scenario;
  const yName = {
    open: 'open connections of a worker over their mean',
    busy: 'utilisation + 0.1',
    share: 'share of the connections of a second, in fair shares',
  }[goal];
  const panels = runs.map((run): Panel => ({ title: titleOf(run), lines: linesOf(run) }));
  return { title: name, xName: 'seconds', yName, across: Math.min(4, panels.length), panels };
}
