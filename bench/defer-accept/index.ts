// SPDX-License-Identifier: Apache-2.0
// What TCP_DEFER_ACCEPT brings a server whose clients speak first, over a link on which every packet takes a while: the
// CPU for each short connection, in turn without and with it. The figures are for reading.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { clientsOf, countOf, pairsOf, secondsOf } from '../lib/arguments';
import { compare } from '../lib/compare';
import { compiled } from '../lib/compiled';
import { type Client, finClient } from '../lib/load/clients';
import { measure } from '../lib/load/run';
import { optionsOr, run, versionOf } from '../lib/main';
import { choosePlace, type Place } from '../lib/place';
import { killGroup, startReady } from '../lib/processes';
import type { Server } from '../lib/server';
import {
  busyColumn,
  cpuColumn,
  cpuUs,
  failedColumn,
  perSecondColumn,
  ratioColumn,
  table,
} from '../lib/table';
import { withHook } from '../lib/variants';

const USAGE = `npm run bench:defer -- [--node PATH] [--clients 512] [--pairs 10] [--seconds 3] [--delay 10]
  --delay 10            milliseconds for a packet, one way
Needs root: for the link.`;
const SERVER = join(__dirname, '../short-connections/server.js');
/** Of the server, on the link (bench/native/delay-link.c). */
const ADDRESS = '10.9.0.1';

/** A client at the other end of a link from the server's network, which `remove` takes away. */
async function distantClient(
  place: Place,
  server: Server,
  delayMs: number,
): Promise<{ client: Client; remove(): void }> {
  const words = [compiled('bench/native/delay-link.c'), String(server.pid), String(delayMs)];
  const link = await startReady(
    'delay-link',
    ['taskset', '-c', String(place.clientCpu), ...words],
    process.env,
  );
  const near = finClient();
  const client = {
    ...near,
    words: (port: number, connections: number, seconds: number) => [
      ...['nsenter', '--net', '--target', String(link.pid), '--'],
      ...near.words(port, connections, seconds),
      ADDRESS,
    ],
  };
  return { client, remove: () => killGroup(link) };
}

function readOptions(argv: string[]) {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      clients: { type: 'string', default: '512' },
      pairs: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '3' },
      delay: { type: 'string', default: '10' },
    },
  });
  return {
    node: values.node,
    clients: clientsOf(values.clients),
    pairs: pairsOf(values.pairs),
    seconds: secondsOf(values.seconds),
    delay: countOf('delay', values.delay),
  };
}

run('bench:defer', USAGE, async (argv) => {
  const { node, clients, pairs, seconds, delay } = optionsOr(USAGE, () => readOptions(argv));
  const place = choosePlace();
  const env = { HOST: '0.0.0.0' };
  const variants = [
    withHook('fastsocket', node, SERVER, 'on', env),
    withHook('with TCP_DEFER_ACCEPT', node, SERVER, 'on', { ...env, FASTSOCKET_DEFER_ACCEPT: 'on' }),
  ];
  for (const connections of clients) {
    const title = `Node ${versionOf(node)}, ${connections} clients, ${delay} ms away`;
    const comparison = await compare(place, title, variants, pairs, async (server) => {
      const { client, remove } = await distantClient(place, server, delay);
      try {
        return (await measure(place, server, { client, connections, seconds })).measure;
      } finally {
        remove();
      }
    });
    console.log(
      table(title, comparison, [
        cpuColumn('connection'),
        perSecondColumn('connections'),
        ratioColumn('CPU against without', pairs, cpuUs),
        busyColumn,
        failedColumn,
      ]),
    );
  }
});
