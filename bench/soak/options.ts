// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { countOf } from '../lib/arguments';

export interface Options {
  /** Node binaries. */
  nodes: string[];
  connections: number;
  /** Of each kind of client that makes no proper request. */
  rude: number;
  hook: boolean;
}

export const USAGE = `npm run bench:soak -- [options]
  --node PATH,...           Node binaries; default: the one that runs this
  --connections 1000000     short connections
  --rude 50000              connections of each kind of client that makes no proper request
  --plain                   without fastsocket`;

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      connections: { type: 'string', default: '1000000' },
      rude: { type: 'string', default: '50000' },
      plain: { type: 'boolean', default: false },
    },
  });
  return {
    nodes: values.node.split(','),
    connections: countOf('connections', values.connections),
    rude: countOf('rude', values.rude),
    hook: !values.plain,
  };
}
