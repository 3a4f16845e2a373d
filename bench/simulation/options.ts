// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { wordsOf } from '../lib/arguments';
import { SCENARIOS, SKEWS, type Skew } from './scenarios';

export interface Options {
  scenarios: string[];
  workers: number[];
  skews: Skew[];
  seed: number;
  /** So many, from `seed` on. */
  seeds: number;
  /** The policy looks at the figures; without, chance alone. */
  balance: boolean;
  /** Blocked workers are helped within milliseconds. */
  native: boolean;
  /** Print what the policy has said. */
  notes: boolean;
  json: string | undefined;
  svg: string | undefined;
}

export const USAGE = `npm run bench:simulate -- [options]
  --scenarios WORD,...  ${SCENARIOS.join(', ')}; default: all
  --workers 2,8,...     2 to 128, on as many CPUs; default: 2,8,32,128
  --skews WORD,...      where connections arrive: even, zipf, two (queues), one (CPU), loopback; default: even,two
  --seed 1              the same run again for the same seed
  --seeds 1             so many, from that on: medians, and the worst
  --no-balance          without the policy of shares, to compare
  --no-native           blocked workers are not helped
  --notes               what the policy has said
  --json FILE           all figures
  --svg FILE            a drawing of the first seed's most and least open connections, or shares, over time`;

const FEWEST_WORKERS = 2;
const MOST_WORKERS = 128;
const MOST_SEEDS = 1_000;
const MOST_SEED = 2 ** 32 - 1;

/** @throws Error that names the option */
function wholeOf(name: string, text: string, least: number, most: number): number {
  const value = /^\s*\d+\s*$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`--${name} ${text}: must be whole, from ${least} to ${most}`);
}

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      scenarios: { type: 'string', default: SCENARIOS.join() },
      workers: { type: 'string', default: '2,8,32,128' },
      skews: { type: 'string', default: 'even,two' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      'no-balance': { type: 'boolean', default: false },
      'no-native': { type: 'boolean', default: false },
      notes: { type: 'boolean', default: false },
      json: { type: 'string' },
      svg: { type: 'string' },
    },
  });
  return {
    scenarios: wordsOf('scenarios', values.scenarios, SCENARIOS),
    workers: values.workers.split(',').map((text) => wholeOf('workers', text, FEWEST_WORKERS, MOST_WORKERS)),
    skews: wordsOf('skews', values.skews, SKEWS),
    seed: wholeOf('seed', values.seed, 0, MOST_SEED),
    seeds: wholeOf('seeds', values.seeds, 1, MOST_SEEDS),
    balance: !values['no-balance'],
    native: !values['no-native'],
    notes: values.notes,
    json: values.json,
    svg: values.svg,
  };
}
