// SPDX-License-Identifier: Apache-2.0
// What a connection to somebody else costs while more and more of the ports towards the same destination are held: plain
// Node and fastsocket in turn, a fresh process in a fresh network for each measure. The figures are for reading: nothing
// here passes or fails.
import { writeFileSync } from 'node:fs';
import { svg } from '../lib/chart';
import { whole } from '../lib/columns';
import { inTurn } from '../lib/compare';
import { optionsOr, run, versionOf } from '../lib/main';
import type { Place } from '../lib/place';
import { mostFds } from '../lib/proc';
import { Results } from '../lib/results';
import { summary } from '../lib/table';
import { measure, variantsOf } from './measure';
import { placeFor, withOccupied } from './occupied';
import { type Options, readOptions, USAGE } from './options';
import { type Holder, type PortRange, planOf, remainderOf, TITLES } from './plan';
import { type Cell, call, cellTable, drawing, overview, rangeTitle } from './report';

const about = (
  { clients, pairs, freePairs, seconds }: Options,
  place: Place,
): string => `Connections to one destination: a byte each way, then closed by the server, ${clients} at a time.
${place.text}.
Medians of ${pairs} rounds of ${seconds} s, ${freePairs} where nothing is held; ratios within a round. Round trip: wall time over
connections. Connect call: connect() of the socket's handle, with socket(2) and, on loopback, the whole handshake.
`;

interface Share {
  holder: Holder;
  share: number;
}

/** Where nothing is held there is one for all holders. */
function sharesOf({ shares, holders }: Options): Share[] {
  const none = shares.includes(0) ? [{ holder: holders[0] as Holder, share: 0 }] : [];
  const some = holders.flatMap((holder) =>
    shares.filter((share) => share > 0).map((share) => ({ holder, share })),
  );
  return [...none, ...some];
}

async function cellOf(
  node: string,
  range: PortRange,
  { holder, share }: Share,
  options: Options,
): Promise<{ cell: Cell; text: string }> {
  const { clients, seconds, pairs, freePairs, off } = options;
  const place = await placeFor(range, holder);
  const plan = planOf(range, holder, share, mostFds());
  const rounds = share === 0 ? freePairs : pairs;
  const held =
    share === 0
      ? 'nothing held'
      : `${share} % (${whole(plan.held)}) held ${TITLES[holder]}${remainderOf(plan)}`;
  const title = `Node ${versionOf(node)}, ${rangeTitle(range)}, ${held}`;
  const comparison = await inTurn(title, variantsOf(node, off), rounds, (variant) =>
    withOccupied(place, range, plan, (server) => measure(place, server, variant, { plan, clients, seconds })),
  );
  return { cell: { range, holder, share, comparison }, text: cellTable(title, comparison, rounds) };
}

/** One for each version of Node. */
function svgFile(file: string, index: number, version: string): string {
  return index === 0 ? file : file.replace(/(\.svg)?$/, `-${version}.svg`);
}

run('bench:connect', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => readOptions(argv));
  const { nodes, ranges, holders, json } = options;
  const place = await placeFor(ranges[0] as PortRange, holders[0] as Holder);
  const results = new Results(json, { bench: 'connect', options, place });
  console.log(about(options, place));
  for (const [index, node] of nodes.entries()) {
    const version = versionOf(node);
    const cells: Cell[] = [];
    for (const range of ranges) {
      for (const share of sharesOf(options)) {
        const { cell, text } = await cellOf(node, range, share, options);
        cells.push(cell);
        results.add({
          node: version,
          range,
          ...share,
          ...cell.comparison,
          summary: summary(cell.comparison, ({ roundTripUs }) => roundTripUs),
          calls: summary(cell.comparison, call),
        });
        if (options.svg !== undefined)
          writeFileSync(svgFile(options.svg, index, version), svg(drawing(`Node ${version}`, cells, ranges)));
        console.log(text);
      }
      console.log(overview(cells, range));
    }
  }
});
