// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { clientsOf, pairsOf, wordsOf } from '../lib/arguments';
import { type Rounds, roundsOf, roundsOptions } from '../lib/rounds';
import { HOLDERS, type Holder, heldOf, type PortRange } from './plan';

export interface Options extends Omit<Rounds, 'clients'> {
  ranges: PortRange[];
  /** Percent. */
  shares: number[];
  holders: Holder[];
  /** At a time. */
  clients: number;
  /** Rounds where nothing is held. */
  freePairs: number;
  /** Also the hook with FASTSOCKET_CONNECT=off. */
  off: boolean;
  svg: string | undefined;
}

export const USAGE = `npm run bench:connect -- [options]
  --node PATH,...       Node binaries; default: the one that runs this
  --ranges LOW-HIGH,... of net.ipv4.ip_local_port_range; default: 32768-41767,32768-60999
  --shares 0,25,...     percent of the ports that are held; default: 0,25,50,75,90
  --holders WORD,...    own: by the measured process; strangers: by others; time-wait: by connections that are closed;
                        default: all
  --clients 32          how many at a time
  --pairs 6             rounds, each with all variants
  --free-pairs 20       the same where nothing is held
  --seconds 1           for each measure, after half a second that does not count
  --off                 also the hook with FASTSOCKET_CONNECT=off
  --json FILE           all measures
  --svg FILE            a drawing`;

const LOWEST = 1_025;
const MOST_SHARE = 99;

/** @throws Error that names the option */
export function rangeOf(text: string): PortRange {
  const [, low, high] = /^(\d+)-(\d+)$/.exec(text.trim()) ?? [];
  const range = { low: Number(low), high: Number(high) };
  if (range.low >= LOWEST && range.low < range.high && range.high <= 65_535) return range;
  throw new Error(`--ranges ${text}: must be LOW-HIGH, from ${LOWEST} to 65535`);
}

/** @throws Error that names the option */
export function shareOf(text: string): number {
  const share = /^\s*\d+\s*$/.test(text) ? Number(text) : Number.NaN;
  if (share <= MOST_SHARE) return share;
  throw new Error(`--shares ${text}: must be whole, from 0 to ${MOST_SHARE}`);
}

/** A port that has just been left may not be free yet: twice as many as are used at a time. */
function checkRoom({ ranges, shares, clients }: Options): void {
  for (const range of ranges)
    for (const share of shares)
      if (range.high - range.low + 1 - heldOf(range, share) < 2 * clients)
        throw new Error(`--shares ${share}: leaves too few ports of ${range.low}-${range.high}`);
}

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      ...roundsOptions({ clients: '32', pairs: '6' }),
      seconds: { type: 'string', default: '1' },
      ranges: { type: 'string', default: '32768-41767,32768-60999' },
      shares: { type: 'string', default: '0,25,50,75,90' },
      holders: { type: 'string', default: HOLDERS.join() },
      'free-pairs': { type: 'string', default: '20' },
      off: { type: 'boolean', default: false },
      svg: { type: 'string' },
    },
  });
  const [clients] = clientsOf(values.clients) as [number];
  const options = {
    ...roundsOf(values),
    clients,
    ranges: values.ranges.split(',').map(rangeOf),
    shares: values.shares.split(',').map(shareOf),
    holders: wordsOf('holders', values.holders, HOLDERS),
    freePairs: pairsOf(values['free-pairs']),
    off: values.off,
    svg: values.svg,
  };
  checkRoom(options);
  return options;
}
