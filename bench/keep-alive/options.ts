// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { wordsOf } from '../lib/arguments';
import { type Rounds, roundsOf, roundsOptions } from '../lib/rounds';

const WORKLOADS = ['http', 'websocket'] as const;
export type Workload = (typeof WORKLOADS)[number];
const CLIENTS = ['autocannon', 'wrk'] as const;

export interface Options extends Rounds {
  workload: Workload[];
  /** Of the HTTP requests. */
  client: (typeof CLIENTS)[number];
}

export const USAGE = `npm run bench:keep-alive -- [options]
  --node PATH,...             Node binaries; default: the one that runs this
  --workload http,websocket   HTTP requests on lasting connections; messages echoed on WebSockets
  --client autocannon         of the HTTP requests: autocannon, or wrk (autocannon where it is not installed)
  --clients 64                connections
  --pairs 20                  rounds, each with all variants on fresh servers
  --seconds 2                 for each measure, after a second that does not count
  --json FILE                 all measures`;

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      ...roundsOptions({ clients: '64', pairs: '20' }),
      workload: { type: 'string', default: 'http,websocket' },
      client: { type: 'string', default: 'autocannon' },
    },
  });
  return {
    ...roundsOf(values),
    workload: wordsOf('workload', values.workload, WORKLOADS),
    client: wordsOf('client', values.client, CLIENTS)[0] as Options['client'],
  };
}
