// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { wordsOf } from '../lib/arguments';
import { type Rounds, roundsOf, roundsOptions } from '../lib/rounds';

const CLIENTS = ['fin', 'wrk', 'autocannon'] as const;
export type ClientName = (typeof CLIENTS)[number];

export interface Options extends Rounds {
  client: ClientName[];
  /** Each piece of the seam off in turn. */
  ablation: boolean;
  nginx: boolean;
  latency: boolean;
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
      ...roundsOptions({ clients: '64,512', pairs: '10' }),
      client: { type: 'string', default: 'fin,wrk' },
      ablation: { type: 'boolean', default: false },
      nginx: { type: 'boolean', default: false },
      latency: { type: 'boolean', default: false },
    },
  });
  return {
    ...roundsOf(values),
    client: wordsOf('client', values.client, CLIENTS),
    ablation: values.ablation,
    nginx: values.nginx,
    latency: values.latency,
  };
}
