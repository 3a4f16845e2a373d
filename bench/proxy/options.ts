// SPDX-License-Identifier: Apache-2.0
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { countOf, wordsOf } from '../lib/arguments';
import { type Rounds, roundsOf, roundsOptions } from '../lib/rounds';

export const PROXIES = ['undici', 'http-proxy'] as const;
export type ProxyName = (typeof PROXIES)[number];

export interface Options extends Rounds {
  proxies: ProxyName[];
  /** Processes of cluster and of the hook. */
  workers: number;
  /** Also the hook with FASTSOCKET_CONNECT=off. */
  off: boolean;
}

export const USAGE = `npm run bench:proxy -- [options]
  --node PATH,...              Node binaries; default: the one that runs this
  --proxies undici,http-proxy  what the proxy is written with
  --workers N                  processes of cluster and of fastsocket; default: one for each CPU
  --clients 64                 how many at a time
  --pairs 6                    rounds, each with all variants on fresh proxies
  --seconds 2                  for each measure, after a second that does not count
  --off                        also fastsocket with FASTSOCKET_CONNECT=off
  --json FILE                  all measures`;

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      ...roundsOptions({ clients: '64', pairs: '6' }),
      proxies: { type: 'string', default: PROXIES.join() },
      workers: { type: 'string', default: String(availableParallelism()) },
      off: { type: 'boolean', default: false },
    },
  });
  return {
    ...roundsOf(values),
    proxies: wordsOf('proxies', values.proxies, PROXIES),
    workers: countOf('workers', values.workers),
    off: values.off,
  };
}
