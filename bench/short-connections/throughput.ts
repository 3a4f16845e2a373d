// SPDX-License-Identifier: Apache-2.0
// CPU for each short connection of a server that has as much to do as it can.
import { percent } from '../lib/columns';
import { type Comparison, compare } from '../lib/compare';
import { autocannonClient, type Client, finClient, wrkOrAutocannon } from '../lib/load/clients';
import { type Measure, measure } from '../lib/load/run';
import type { Place } from '../lib/place';
import { median } from '../lib/stats';
import {
  type Column,
  cpuColumn,
  cpuUs,
  failedColumn,
  perSecondColumn,
  ratioColumn,
  series,
  table,
} from '../lib/table';
import type { Variant } from '../lib/variants';
import type { ClientName } from './options';

export function clientOf(name: ClientName): Client {
  if (name === 'fin') return finClient();
  return name === 'wrk' ? wrkOrAutocannon('short') : autocannonClient('short');
}

/** Of the sockets in TIME_WAIT after the load; undefined where there is none. */
function serverFirst({ closedFirst: { server, client } }: Measure): number | undefined {
  return server + client > 0 ? server / (server + client) : undefined;
}

const closedColumn: Column<Measure> = {
  head: ['server', 'closed first'],
  cell: (measured) => percent(median(series(measured, serverFirst))),
};

export interface Throughput {
  comparison: Comparison<Measure>;
  text: string;
}

export async function throughput(
  place: Place,
  version: string,
  variants: readonly Variant[],
  { client, clients, pairs, seconds }: { client: Client; clients: number; pairs: number; seconds: number },
): Promise<Throughput> {
  const title = `Node ${version}, ${clients} clients ${client.title}`;
  const load = { client, connections: clients, seconds };
  const comparison = await compare(
    place,
    title,
    variants,
    pairs,
    async (server) => (await measure(place, server, load)).measure,
  );
  const text = table(title, comparison, [
    cpuColumn('connection'),
    perSecondColumn('connections'),
    ratioColumn('CPU against plain', pairs, cpuUs),
    closedColumn,
    failedColumn,
  ]);
  return { comparison, text };
}
