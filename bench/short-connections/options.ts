// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { clientsOf, pairsOf, secondsOf, wordsOf } from '../lib/arguments';

const CLIENTS = ['fin', 'wrk', 'autocannon'] as const;
export type ClientName = (typeof CLIENTS)[number];

export interface Options {
  /** Node binaries. */
  nodes: string[];
  client: ClientName[];
  clients: number[];
  pairs: number;
  seconds: number;
  /** Each piece of the seam off in turn. */
  ablation: boolean;
  nginx: boolean;
  latency: boolean;
  json: string | undefined;
}

export const USAGE = `npm run bench:short -- [options]
  --node PATH,...       Node binaries; default: the one that runs this
  --client fin,wrk      fin: waits for the server to close; wrk (autocannon where it is not installed): closes when it has
                        the answer; autocannon; default: fin,wrk
  --clients 64,512      how many at a time
  --pairs 10            rounds, each with all variants on fresh servers
  --seconds 2           for each measure, after a second that does not count
  --ablation            also each piece of the seam off in turn
  --nginx               also nginx with one worker
  --latency             instead: latency at a tenth of what plain Node can do
  --json FILE           all measures`;

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      client: { type: 'string', default: 'fin,wrk' },
      clients: { type: 'string', default: '64,512' },
      pairs: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '2' },
      ablation: { type: 'boolean', default: false },
      nginx: { type: 'boolean', default: false },
      latency: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  return {
    nodes: values.node.split(','),
    client: wordsOf('client', values.client, CLIENTS),
    clients: clientsOf(values.clients),
    pairs: pairsOf(values.pairs),
    seconds: secondsOf(values.seconds),
    ablation: values.ablation,
    nginx: values.nginx,
    latency: values.latency,
    json: values.json,
  };
}
