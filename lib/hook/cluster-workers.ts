// SPDX-License-Identifier: Apache-2.0
// The origin's cluster module, where the app speaks with workers by it.
import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker } from 'node:cluster';
import { signalNumber } from './node';
import { replace } from './replace';
import { builtinLoaded } from './tcp';

export interface Copy extends Worker {
  state: string;
}

/** With cluster.Worker (lib/internal/cluster/worker.js), which listens to its process and enters itself nowhere. */
export interface ClusterModule extends Cluster {
  Worker: new (options: { id: number; state: string; process: ChildProcess }) => Copy;
  workers: NodeJS.Dict<Worker>;
}

/** What the app can do to a copy that it finds in cluster.workers. */
export interface CopyOrders {
  /** worker.disconnect() */
  leave(): void;
  /** worker.kill(), worker.process.kill(). Returns false where the signal is to be sent as it is. */
  signal(signal: number): boolean;
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

export function makeCopy(
  { Worker }: ClusterModule,
  { index, child, orders }: { index: number; child: ChildProcess; orders: CopyOrders },
): Copy {
  const worker = new Worker({ id: index, state: 'online', process: child });
  // it passes on those of its process, which we send signals and messages of our own: they must not end the app
  worker.on('error', () => {});
  // Node's own knows nothing of its servers
  replace(
    worker,
    'disconnect',
    () =>
      function (this: Copy) {
        worker.exitedAfterDisconnect = true;
        orders.leave();
        return this;
      },
  );
  replace(
    child,
    'kill',
    (original) =>
      function (this: unknown, signal) {
        const number = signalNumber(signal ?? 'SIGTERM');
        const lives = child.exitCode === null && child.signalCode === null;
        if (number !== undefined && lives && orders.signal(number)) {
          Object.assign(child, { killed: true });
          return true;
        }
        return Reflect.apply(original, child, [signal]) as boolean;
      },
  );
  copies.add(worker);
  return worker;
}

/** Made by us, not by the app's cluster.fork(). */
export function isCopy(worker: Worker): boolean {
  return copies.has(worker);
}

function listed({ workers }: ClusterModule): Worker[] {
  return Object.values(workers).filter((worker) => worker !== undefined);
}

let hooked = false;
/** The app has forked workers of its own: cluster.workers is theirs alone. */
let forked = false;

/**
 * cluster.disconnect() ends the app's own workers, and calls back when cluster.workers has none any more, which it looks
 * up when one of them ends (lib/internal/cluster/primary.js, removeWorker): copies stand aside for it.
 */
function hookDisconnect(cluster: ClusterModule): void {
  if (hooked) return;
  hooked = true;
  replace(
    cluster,
    'disconnect',
    (original) =>
      function (this: unknown, ...args) {
        const all = listed(cluster);
        const aside = all.filter(isCopy) as Copy[];
        for (const copy of aside) removeCopy(copy);
        try {
          return Reflect.apply(original, this, args) as undefined;
        } finally {
          if (aside.length === all.length) for (const copy of aside) enterCopy(cluster, copy);
        }
      },
  );
  const { syncBuiltinESMExports } = require('node:module') as typeof import('node:module');
  syncBuiltinESMExports();
  cluster.on('fork', () => {
    forked = true;
    for (const worker of listed(cluster)) if (isCopy(worker)) removeCopy(worker as Copy);
  });
}

/** Enters it in cluster.workers, unless that has workers of the app's own. */
export function enterCopy(cluster: ClusterModule, copy: Copy): void {
  if (forked || !listed(cluster).every(isCopy)) return;
  hookDisconnect(cluster);
  cluster.workers[copy.id] = copy;
}

export function removeCopy(copy: Copy): void {
  const workers = clusterModule()?.workers;
  if (workers?.[copy.id] === copy) delete workers[copy.id];
}
