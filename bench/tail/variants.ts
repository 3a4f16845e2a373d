// SPDX-License-Identifier: Apache-2.0
// The ways of running the one server on several workers.
import { join } from 'node:path';
import { SEAM_PIECES } from '../../lib/config/settings';
import { hook } from '../lib/root';
import { Server } from '../lib/server';
import { environment, FASTSOCKET, hookRemark, type Variant } from '../lib/variants';

const SERVER = join(__dirname, 'server.js');
const CLUSTER = join(__dirname, 'cluster.js');
const UNBATCHED = SEAM_PIECES.filter((piece) => piece !== 'batch').join(',');

function variant(
  name: string,
  words: readonly string[],
  env: Record<string, string>,
  remark: (stderr: string) => string | undefined = () => undefined,
): Variant {
  return {
    name,
    start: (place, port) => Server.start(place, { words, env: environment(port, env), port }),
    remark: ({ stderr }) => remark(stderr),
  };
}

const clustered = (name: string, node: string, workers: number, env: Record<string, string>): Variant =>
  variant(name, [node, CLUSTER], { WORKERS: String(workers), ...env });

function hooked(
  name: string,
  node: string,
  workers: number,
  env: Record<string, string> = {},
  script = SERVER,
): Variant {
  const all = { FASTSOCKET_WORKERS: String(workers), NODE_DEBUG: 'fastsocket', ...env };
  return variant(name, [node, '-r', hook, script], all, (stderr) => hookRemark(stderr, 'on'));
}

/** Why a version of Node, such as v22.11.0, has no listen({ reusePort: true }); undefined where it has (nodejs/node#55408). */
export function noReusePort(version: string): string | undefined {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number);
  const has = (major === 22 && minor >= 12) || (major === 23 && minor >= 1) || major >= 24;
  return has ? undefined : `Node ${version} has no listen({ reusePort: true }) (22.12, 23.1)`;
}

const sharedSocket = (node: string, workers: number, env: Record<string, string> = {}): Variant =>
  clustered('SCHED_NONE', node, workers, { NODE_CLUSTER_SCHED_POLICY: 'none', ...env });

const reusePort = (node: string, workers: number, env: Record<string, string> = {}): Variant =>
  clustered('reusePort', node, workers, { NODE_CLUSTER_SCHED_POLICY: 'none', REUSE: '1', ...env });

const BALANCES = ['off', 'steal', 'swap'] as const;

const balanced = (node: string, workers: number, env: Record<string, string> = {}): Variant[] =>
  BALANCES.map((balance) =>
    hooked(`BALANCE=${balance}`, node, workers, { FASTSOCKET_BALANCE: balance, ...env }),
  );

const roundRobin = (node: string, workers: number, env: Record<string, string> = {}): Variant =>
  clustered('round robin', node, workers, { NODE_CLUSTER_SCHED_POLICY: 'rr', ...env });

export function tailVariants(node: string, version: string, workers: number, ablation: boolean): Variant[] {
  return [
    roundRobin(node, workers),
    sharedSocket(node, workers),
    ...(noReusePort(version) ? [] : [reusePort(node, workers)]),
    hooked(FASTSOCKET, node, workers),
    ...(ablation ? balanced(node, workers) : []),
  ];
}

/**
 * The first is what the others are compared with. What batches save would hide what it costs to look for blocked workers;
 * and where the load has no CPU of its own, what it costs that workers keep to theirs: all of them do, or none.
 */
export function costVariants(
  node: string,
  version: string,
  workers: number,
  { ablation, pinned }: { ablation: boolean; pinned: boolean },
): Variant[] {
  const env = { FASTSOCKET_SEAM: UNBATCHED, FASTSOCKET_PIN: pinned ? 'auto' : 'off' };
  const base = pinned ? { PIN: '1' } : {};
  return [
    noReusePort(version) ? sharedSocket(node, workers, base) : reusePort(node, workers, base),
    hooked('fastsocket without batch', node, workers, env),
    ...(ablation ? balanced(node, workers, env) : []),
  ];
}

/** An app that forks its workers itself, and the same with the hook. The first is what the other is compared with. */
export function forkVariants(node: string, workers: number, pinned: boolean): Variant[] {
  const env = { WORKERS: String(workers), NODE_CLUSTER_SCHED_POLICY: 'rr' };
  return [
    roundRobin(node, workers, pinned ? { PIN: '1' } : {}),
    hooked(
      'the same with the hook',
      node,
      workers,
      { ...env, FASTSOCKET_PIN: pinned ? 'auto' : 'off' },
      CLUSTER,
    ),
  ];
}
