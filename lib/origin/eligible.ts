// SPDX-License-Identifier: Apache-2.0

import { type BindArguments, REUSE_PORT } from '../group/key';
import { clusterModule, isCopy } from '../hook/cluster-workers';

export function bindReason(bind: BindArguments): string | undefined {
  return (bind.flags & REUSE_PORT) !== 0 ? 'reusePort: true, the app shares its port itself' : undefined;
}

/** Reasons that can only be known at the first listen(). */
export function processReason(): string | undefined {
  const { isMainThread } = require('node:worker_threads') as typeof import('node:worker_threads');
  if (!isMainThread) return 'a worker thread';
  if (isSingleExecutable()) return 'a single executable application';
  const other = embedder();
  if (other !== undefined) return other;
  return clusterModule()?.isWorker ? 'a cluster worker' : undefined;
}

/** Programs with a Node of their own, whose command line is not node's: a copy of Electron's would open windows again. */
function embedder(): string | undefined {
  for (const name of ['electron', 'nw']) if (name in process.versions) return `not node but ${name}`;
  return 'pkg' in process ? 'an executable made by pkg' : undefined;
}

/** Such a program takes no script: a copy would have one argument more than the original. */
function isSingleExecutable(): boolean {
  try {
    return (require('node:sea') as typeof import('node:sea')).isSea();
  } catch {
    // Node 20.12 and later have it
    return false;
  }
}

/** Calls back when the app forks a cluster worker. net has loaded cluster at the first listen(), so this loads nothing. */
export function onClusterFork(forked: () => void): void {
  clusterModule()?.on('fork', forked);
}

/**
 * Whether the app has ever forked a cluster worker, or has called setupPrimary(), as fork() does (cluster.settings): of one that
 * has ended nothing else is left.
 */
export function everForked(): boolean {
  return Object.keys(clusterModule()?.settings ?? {}).length > 0;
}

/** True once the app has forked cluster workers: then its primary's listens are the cluster module's own. */
export function appForks(): boolean {
  return ownWorkers() > 0;
}

/** How many cluster workers the app has forked that have not ended. */
export function ownWorkers(): number {
  return Object.values(clusterModule()?.workers ?? {}).filter((worker) => worker && !isCopy(worker)).length;
}
