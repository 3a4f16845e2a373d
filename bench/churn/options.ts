// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { countOf, secondsOf, wordsOf } from '../lib/arguments';

export interface PortRange {
  low: number;
  high: number;
}

/** The kernel's default. */
export const RANGE: PortRange = { low: 32_768, high: 60_999 };
export const WORKERS = 2;
/** Of a worker, beside its connections: what Node, the hook and connections that are on their way need. */
const SPARE_FDS = 500;

export type Reuse = '0' | '1' | '2';

export interface Options {
  node: string;
  /** In all. */
  connections: number;
  seconds: number;
  /** net.ipv4.tcp_tw_reuse */
  reuse: Reuse;
  servers: number;
  range: PortRange;
  json: string | undefined;
}

export const USAGE = `npm run bench:churn -- [options]
  --node PATH             the Node binary; default: the one that runs this
  --connections 20000     held at a time, by ${WORKERS} workers
  --seconds 60            of opening and closing
  --reuse 2               net.ipv4.tcp_tw_reuse: 2 and 1 free a port in TIME_WAIT after a second, 0 after a minute
  --servers 4             processes at the other end
  --json FILE             all that was counted`;

export const portsOf = ({ low, high }: PortRange): number => high - low + 1;

/** @throws Error that names the option */
export function checkRoom({ connections, servers, range }: Options, mostFds: number): void {
  const text = `--connections ${connections}`;
  if (connections % WORKERS !== 0) throw new Error(`${text}: must be a multiple of ${WORKERS}`);
  if (connections > portsOf(range) * 0.8)
    throw new Error(`${text}: leaves too few of ${portsOf(range)} ports`);
  if (connections / WORKERS > mostFds - SPARE_FDS)
    throw new Error(`${text}: a worker may have ${mostFds} descriptors`);
  // not quite even: the hash decides
  if ((connections / servers) * 1.2 > mostFds - SPARE_FDS)
    throw new Error(`--servers ${servers}: each may have ${mostFds} descriptors`);
}

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      connections: { type: 'string', default: '20000' },
      seconds: { type: 'string', default: '60' },
      reuse: { type: 'string', default: '2' },
      servers: { type: 'string', default: '4' },
      json: { type: 'string' },
    },
  });
  const [reuse] = wordsOf('reuse', values.reuse, ['0', '1', '2']) as [Reuse];
  return {
    node: values.node,
    connections: countOf('connections', values.connections),
    seconds: secondsOf(values.seconds),
    reuse,
    servers: countOf('servers', values.servers),
    range: RANGE,
    json: values.json,
  };
}
