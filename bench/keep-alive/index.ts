// SPDX-License-Identifier: Apache-2.0
// What a request or a message costs on connections that last, where the hook has nothing to do: plain Node and fastsocket
// in turn. The figures are for reading: nothing here passes or fails.
import { join } from 'node:path';
import { compare } from '../lib/compare';
import { autocannonClient, type Client, echoClient, wrkOrAutocannon } from '../lib/load/clients';
import { type Measure, measure } from '../lib/load/run';
import { optionsOr, run, versionOf } from '../lib/main';
import { choosePlace, type Place } from '../lib/place';
import { Results } from '../lib/results';
import {
  busyColumn,
  type Column,
  cpuColumn,
  cpuUs,
  failedColumn,
  perSecondColumn,
  ratioColumn,
  summary,
  table,
} from '../lib/table';
import { nodeVariants } from '../lib/variants';
import { type Options, readOptions, USAGE, type Workload } from './options';

const SERVER = join(__dirname, 'server.js');

const about = ({ pairs, seconds }: Options, place: Place): string =>
  `Connections that last: HTTP keep-alive, WebSocket.
One server process, ${place.text}.
Medians of ${pairs} rounds of ${seconds} s, a fresh server for each measure; ratios within a round.
`;

/** What is counted, in the singular, and by whom. */
function workloadOf(workload: Workload, { client }: Options): { unit: string; client: Client } {
  if (workload === 'websocket') return { unit: 'message', client: echoClient() };
  const http = client === 'wrk' ? wrkOrAutocannon('keep-alive') : autocannonClient('keep-alive');
  return { unit: 'request', client: http };
}

function columnsOf(unit: string, pairs: number): Column<Measure>[] {
  return [
    cpuColumn(unit),
    perSecondColumn(`${unit}s`),
    ratioColumn('CPU against plain', pairs, cpuUs),
    ratioColumn('per second against plain', pairs, ({ perSecond }) => perSecond),
    busyColumn,
    failedColumn,
  ];
}

run('bench:keep-alive', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => readOptions(argv));
  const place = choosePlace();
  const results = new Results(options.json, { bench: 'keep-alive', options, place });
  console.log(about(options, place));
  for (const node of options.nodes) {
    const version = versionOf(node);
    for (const workload of options.workload)
      for (const clients of options.clients) {
        const { unit, client } = workloadOf(workload, options);
        const title = `Node ${version}, ${clients} connections ${client.title}`;
        const load = { client, connections: clients, seconds: options.seconds };
        const variants = nodeVariants(node, SERVER);
        const comparison = await compare(
          place,
          title,
          variants,
          options.pairs,
          async (server) => (await measure(place, server, load)).measure,
        );
        results.add({ node: version, workload, clients, ...comparison, summary: summary(comparison) });
        console.log(table(title, comparison, columnsOf(unit, options.pairs)));
      }
  }
});
