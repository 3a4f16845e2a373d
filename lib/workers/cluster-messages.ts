// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker } from 'node:cluster';
import { builtinLoaded } from '../hook/tcp';

/** With cluster.Worker (lib/internal/cluster/worker.js), which listens to its process and enters itself nowhere. */
interface ClusterModule extends Cluster {
  Worker: new (options: { id: number; state: string; process: ChildProcess }) => Worker;
}

/** The cluster module where the app listens for messages. net has loaded it at the first listen(), so this loads nothing. */
function listening(): ClusterModule | undefined {
  if (!builtinLoaded('cluster')) return undefined;
  const cluster = require('node:cluster') as ClusterModule;
  return cluster.listenerCount('message') > 0 ? cluster : undefined;
}

function makeWorker({ Worker }: ClusterModule, index: number, child: ChildProcess): Worker {
  const worker = new Worker({ id: index, state: 'online', process: child });
  // it passes on those of its process, which we send signals and messages of our own: they must not end the app
  worker.on('error', () => {});
  return worker;
}

/**
 * Lets the app hear what a worker's process.send() says as under cluster: as cluster's 'message', which log4js and others
 * need (lib/internal/cluster/primary.js, cluster.fork). Everything else of cluster stays as if there were no workers.
 */
export function passOnMessages(index: number, child: ChildProcess): void {
  let worker: Worker | undefined;
  // without any listener Node would keep each message for one (lib/internal/child_process.js, kPendingMessages)
  child.on('message', (message, handle) => {
    const cluster = listening();
    if (!cluster) return;
    worker ??= makeWorker(cluster, index, child);
    cluster.emit('message', worker, message, handle);
  });
}
