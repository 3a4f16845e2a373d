// SPDX-License-Identifier: Apache-2.0
// How one blocked worker hurts the clients of the others: node:cluster's ways of sharing a port and fastsocket in turn,
// fresh processes for each measure. The figures are for reading: nothing here passes or fails.
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type Panel, svg } from '../lib/chart';
import { inTurn } from '../lib/compare';
import { optionsOr, run, versionOf } from '../lib/main';
import type { Place } from '../lib/place';
import { Results } from '../lib/results';
import { summary } from '../lib/table';
import { rule, untilClean } from './clean';
import { costOf } from './cost';
import { measureTail, tailPlace } from './measure';
import { type Options, readOptions, USAGE } from './options';
import { loadText, planOf } from './plan';
import { type Cell, cellTable, drawing, tailSummary } from './report';
import { noReusePort, tailVariants } from './variants';

const about = (
  { shape, cost, rounds, pairs, seconds, tries, waitS, limits }: Options,
  place: Place,
): string =>
  `${shape === 'handlers' ? 'Handlers that compute' : 'One blocked worker'}. ${place.text}.
${cost ? pairs : rounds} rounds of ${seconds} s with all servers, fresh processes for each measure.${
    cost
      ? ''
      : '\nFigures are medians of the rounds, latencies from the moment at which a request was to be sent.'
  }
A measure with ${rule(limits)}
does not count and is taken again, up to ${tries} in all; before each up to ${waitS} s for others to use less.
`;

async function cellOf(
  place: Place,
  node: string,
  { workers, blockMs }: { workers: number; blockMs: number },
  options: Options,
): Promise<{ cell: Cell; text: string }> {
  const version = versionOf(node);
  const plan = planOf(options, blockMs, workers);
  const title = `Node ${version}, ${workers} workers, ${loadText(plan)}`;
  const variants = tailVariants(node, version, workers, options.ablation);
  const comparison = await inTurn(title, variants, options.rounds, (variant) =>
    untilClean(options, () => measureTail(place, variant, plan, workers)),
  );
  const unit = plan.shape === 'short' || plan.shape === 'handlers' ? 'connection' : 'request';
  return {
    cell: { workers, blockMs, comparison },
    text: cellTable(title, comparison, options.limits, unit),
  };
}

/** Nothing counts where every measure was discarded. */
const hasPoints = ({ lines }: Panel): boolean => lines.some(({ points }) => points.length > 0);

/** One for each version of Node. */
function svgFile(file: string, index: number, version: string): string {
  return index === 0 ? file : file.replace(/(\.svg)?$/, `-${version}.svg`);
}

async function tails(place: Place, results: Results, node: string, index: number, options: Options) {
  const version = versionOf(node);
  const cells: Cell[] = [];
  for (const workers of options.workers)
    for (const blockMs of options.blocks) {
      const { cell, text } = await cellOf(place, node, { workers, blockMs }, options);
      cells.push(cell);
      const { variants, remarks } = cell.comparison;
      results.add({
        ...{ node: version, workers, blockMs, plan: planOf(options, blockMs, workers), remarks },
        variants: variants.map(({ name, measures }) => ({
          name,
          measures: measures.map(({ kept }) => kept ?? null),
          discarded: measures.flatMap(({ discarded }, round) => discarded.map((one) => ({ round, ...one }))),
        })),
        summary: tailSummary(cell.comparison),
      });
      const chart = drawing(
        `Node ${version}`,
        cells,
        ...(options.shape === 'handlers' ? ['of the requests'] : []),
      );
      if (options.svg !== undefined && chart.panels.some(hasPoints))
        writeFileSync(svgFile(options.svg, index, version), svg(chart));
      console.log(text);
    }
}

async function costs(place: Place, results: Results, node: string, options: Options) {
  const version = versionOf(node);
  // who has no CPU of his own is not pinned
  for (const workers of options.workers)
    for (const pinned of workers <= availableParallelism() ? [false, true] : [false]) {
      const { text, ...cost } = await costOf(place, node, version, { workers, pinned }, options);
      results.add({ node: version, workers, pinned, ...cost, summary: summary({ ...cost }) });
      console.log(text);
    }
}

run('bench:tail', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => {
    const read = readOptions(argv);
    if (!read.cost) for (const blockMs of read.blocks) planOf(read, blockMs, 1);
    return read;
  });
  const place = tailPlace(availableParallelism());
  const results = new Results(options.json, { bench: 'tail', options, place });
  console.log(about(options, place));
  for (const [index, node] of options.nodes.entries()) {
    const why = noReusePort(versionOf(node));
    if (why !== undefined) console.log(`reusePort is left out: ${why}\n`);
    if (options.cost) await costs(place, results, node, options);
    else await tails(place, results, node, index, options);
  }
});
