// SPDX-License-Identifier: Apache-2.0
// An HTTP proxy with short connections on both sides, which accepts and connects for each request: plain Node, node:cluster
// and fastsocket in turn, fresh processes for each measure, load and backend on the same CPUs. The figures are for reading:
// nothing here passes or fails.
import { availableParallelism } from 'node:os';
import { fixed, whole } from '../lib/columns';
import { inTurn } from '../lib/compare';
import { optionsOr, run, versionOf } from '../lib/main';
import { choosePlace, type Place } from '../lib/place';
import { Results } from '../lib/results';
import { median } from '../lib/stats';
import {
  type Column,
  cpuColumn,
  cpuUs,
  failedColumn,
  perSecondColumn,
  ratioColumn,
  series,
  summary,
  table,
} from '../lib/table';
import { measureProxy, type ProxyMeasure } from './measure';
import { type Options, readOptions, USAGE } from './options';
import { variantsOf } from './variants';

/** All use all CPUs. */
function sharedPlace(): Place {
  const { network } = choosePlace();
  const net = network ? 'a network namespace for each measure' : 'the loopback that all share';
  const text = `${availableParallelism()} CPUs for load, proxy and backend together, ${net}`;
  return { network, serverCpu: undefined, clientCpu: undefined, text };
}

const about = (
  { pairs, seconds, workers }: Options,
  place: Place,
): string => `A proxy: a connection for each request on both sides, closed by who answers.
${place.text}; ${workers} workers.
Medians of ${pairs} rounds of ${seconds} s, fresh processes for each measure; ratios within a round. CPU of all the proxy's
processes; loop delay of the latest of them.
`;

const perSecond = (measure: ProxyMeasure): number => measure.perSecond;

function columnsOf(pairs: number): Column<ProxyMeasure>[] {
  return [
    perSecondColumn('requests') as Column<ProxyMeasure>,
    ratioColumn('against plain', pairs, perSecond),
    cpuColumn('request') as Column<ProxyMeasure>,
    ratioColumn('against plain', pairs, cpuUs),
    {
      head: ['loop delay', 'p99'],
      cell: (measured) => fixed(median(series(measured, ({ delayMs }) => delayMs)), 1, ' ms'),
    },
    {
      head: ['processes', 'accept'],
      cell: (measured) => whole(median(series(measured, ({ serving }) => serving))),
    },
    failedColumn as Column<ProxyMeasure>,
  ];
}

run('bench:proxy', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => readOptions(argv));
  const { nodes, proxies, pairs, seconds } = options;
  const place = sharedPlace();
  const results = new Results(options.json, { bench: 'proxy', options, place });
  console.log(about(options, place));
  for (const node of nodes) {
    const version = versionOf(node);
    for (const proxy of proxies)
      for (const clients of options.clients) {
        const title = `Node ${version}, ${proxy}, ${clients} clients`;
        const comparison = await inTurn(title, variantsOf(node, proxy, options), pairs, (variant) =>
          measureProxy(place, variant, { clients, seconds }),
        );
        results.add({ node: version, proxy, clients, ...comparison, summary: summary(comparison) });
        console.log(table(title, comparison, columnsOf(pairs)));
      }
  }
});
