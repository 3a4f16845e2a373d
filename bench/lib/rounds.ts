// SPDX-License-Identifier: Apache-2.0
import { clientsOf, pairsOf, secondsOf } from './arguments';

/** What every bench has that runs variants in turn. */
export interface Rounds {
  /** Node binaries. */
  nodes: string[];
  /** How many at a time. */
  clients: number[];
  pairs: number;
  seconds: number;
  json: string | undefined;
}

const text = (value: string) => ({ type: 'string', default: value }) as const;

/** For parseArgs of node:util. */
export const roundsOptions = (defaults: { clients: string; pairs: string }) =>
  ({
    node: text(process.execPath),
    clients: text(defaults.clients),
    pairs: text(defaults.pairs),
    seconds: text('2'),
    json: { type: 'string' },
  }) as const;

/** @throws Error that names the option */
export function roundsOf(values: {
  node: string;
  clients: string;
  pairs: string;
  seconds: string;
  json?: string | undefined;
}): Rounds {
  return {
    nodes: values.node.split(','),
    clients: clientsOf(values.clients),
    pairs: pairsOf(values.pairs),
    seconds: secondsOf(values.seconds),
    json: values.json,
  };
}
