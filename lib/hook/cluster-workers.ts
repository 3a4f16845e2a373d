// SPDX-License-Identifier: Apache-2.0
// The origin's cluster module, where the app speaks with workers by it.
import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker } from 'node:cluster';
import { builtinLoaded } from './tcp';

export interface Copy extends Worker {
  state: string;
}

/** With cluster.Worker (lib/internal/cluster/worker.js), which listens to its process and enters itself nowhere. */
export interface ClusterModule extends Cluster {
  Worker: new (options: { id: number; state: string; process: ChildProcess }) => Copy;
  workers: NodeJS.Dict<Worker>;
}

const copies = new WeakSet<Worker>();

/** The cluster module where it is loaded, which net has done at the first listen(): this loads nothing. */
export function clusterModule(): ClusterModule | undefined {
  return builtinLoaded('cluster') ? (require('node:cluster') as ClusterModule) : undefined;
}

/** The cluster module where the app listens for messages. */
export function listeningCluster(): ClusterModule | undefined {
  const cluster = clusterModule();
  return cluster && cluster.listenerCount('message') > 0 ? cluster : undefined;
}

/** Calls back whenever the app is about to listen for messages. */
export function onClusterListener(listens: () => void): void {
  clusterModule()?.on('newListener', (event) => {
    if (event === 'message') listens();
  });
}

export function makeCopy({ Worker }: ClusterModule, index: number, child: ChildProcess): Copy {
  const worker = new Worker({ id: index, state: 'online', process: child });
  // it passes on those of its process, which we send signals and messages of our own: they must not end the app
  worker.on('error', () => {});
  copies.add(worker);
  return worker;
}

/** Made by us, not by the app's cluster.fork(). */
export function isCopy(worker: Worker): boolean {
  return copies.has(worker);
}

/** Enters it in cluster.workers, where no worker of the app's own has its number. */
export function enterCopy(cluster: ClusterModule, copy: Copy): void {
  const there = cluster.workers[copy.id];
  if (!there || isCopy(there)) cluster.workers[copy.id] = copy;
}

export function removeCopy(copy: Copy): void {
  const workers = clusterModule()?.workers;
  if (workers?.[copy.id] === copy) delete workers[copy.id];
}
