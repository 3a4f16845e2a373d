// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { SEAM_PIECES } from '../../lib/config/settings';

export interface Options {
  /** Node binaries. */
  nodes: string[];
  clients: number[];
  pairs: number;
  seconds: number;
  /** Each piece of the seam off in turn. */
  ablation: boolean;
}

export const USAGE = `npm run bench:short -- [--node PATH,...] [--clients 64,512] [--pairs 10] [--seconds 2] [--ablation]`;

export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      clients: { type: 'string', default: '64,512' },
      pairs: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '2' },
      ablation: { type: 'boolean', default: false },
    },
  });
  return {
    nodes: values.node.split(','),
    clients: values.clients.split(',').map(Number),
    pairs: Number(values.pairs),
    seconds: Number(values.seconds),
    ablation: values.ablation,
  };
}

/** One way of running the server. */
export interface Variant {
  name: string;
  hook: boolean;
  seam?: string;
}

export function variants(ablation: boolean): Variant[] {
  const list: Variant[] = [
    { name: 'plain Node', hook: false },
    { name: 'fastsocket', hook: true },
    { name: 'with the seam', hook: true, seam: 'on' },
  ];
  if (!ablation) return list;
  for (const piece of SEAM_PIECES.filter((name) => name !== 'backlog' && name !== 'fds')) {
    const others = SEAM_PIECES.filter((name) => name !== piece);
    list.push({ name: `without ${piece}`, hook: true, seam: others.join(',') });
  }
  return list;
}
