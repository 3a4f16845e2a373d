// SPDX-License-Identifier: Apache-2.0
// The ways of running one and the same proxy.
import { join } from 'node:path';
import { hook } from '../lib/root';
import { FASTSOCKET, hookRemark, PLAIN } from '../lib/variants';
import type { Options, ProxyName } from './options';

export interface Variant {
  name: string;
  words: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Processes that are expected to accept. */
  workers: number;
  /** What is not as the name says, by what its processes have said. */
  remark(stderr: string): string | undefined;
}

const WATCH = join(__dirname, 'watch.js');
const CLUSTER = join(__dirname, 'cluster.js');

export function variantsOf(node: string, proxy: ProxyName, { workers, off }: Options): Variant[] {
  const script = join(__dirname, `${proxy}.js`);
  const hooked = (name: string, more: Record<string, string>): Variant => ({
    name,
    words: [node, '-r', hook, '-r', WATCH, script],
    env: { FASTSOCKET_WORKERS: String(workers), NODE_DEBUG: 'fastsocket', ...more },
    workers,
    remark: (stderr) => hookRemark(stderr, 'on'),
  });
  return [
    { name: PLAIN, words: [node, '-r', WATCH, script], env: {}, workers: 1, remark: () => undefined },
    {
      name: 'cluster',
      words: [node, '-r', WATCH, CLUSTER],
      env: { PROXY: script, WORKERS: String(workers) },
      workers,
      remark: () => undefined,
    },
    hooked(FASTSOCKET, {}),
    ...(off ? [hooked('FASTSOCKET_CONNECT=off', { FASTSOCKET_CONNECT: 'off' })] : []),
  ];
}
