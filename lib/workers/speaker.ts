// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess, SendHandle } from 'node:child_process';
import {
  type ClusterModule,
  type Copy,
  type CopyOrders,
  clusterModule,
  enterCopy,
  listeningCluster,
  makeCopy,
  removeCopy,
} from '../hook/cluster-workers';
import { RELAYED_NUMBERS } from '../signals/relayed';

/** What the app tells one worker by way of cluster.workers. */
export interface SpeakerOrders {
  /** It closes its servers and its channel, and ends when it has nothing more to do; another one follows. */
  leave(): void;
  /** As if this signal had come to it, and to it alone. */
  signal(signal: number): void;
}

/**
 * A worker as the app's cluster module in the origin sees it, where the app listens for cluster's 'message': what the
 * worker's process.send() says is heard there, as log4js and others need it, and while it serves it stands in
 * cluster.workers, for those that speak first (prom-client's aggregator, socket.io's cluster adapter). The rest is as if
 * there were no workers: no event of cluster but 'message' (lib/internal/cluster/primary.js, cluster.fork), and
 * cluster.disconnect() has nobody to wait for. What the app does to one of them it does: disconnect() and kill() end that
 * one, and another one takes its place.
 */
export class Speaker {
  private copy: Copy | undefined;
  private serving = false;
  /** It has disconnected by itself. */
  private isOrderly = false;

  /** @param unheard is told what nobody listens for */
  constructor(
    private readonly index: number,
    private readonly child: ChildProcess,
    private readonly orders: SpeakerOrders,
    unheard: (message: unknown, handle: SendHandle | undefined) => void,
  ) {
    // without any listener Node would keep each message for one (lib/internal/child_process.js, kPendingMessages)
    child.on('message', (message, handle) => {
      const cluster = listeningCluster();
      if (cluster) cluster.emit('message', this.inCluster(cluster), message, handle);
      // what the app listens for on one of cluster.workers comes next (lib/internal/cluster/worker.js)
      else if (!this.copy?.listenerCount('message')) unheard(message, handle);
    });
    child.once('disconnect', () => this.disconnected());
    child.once('exit', (code, signal) => this.ended(code, signal));
  }

  /** From now on it answers. */
  serves(): void {
    if (this.serving) return;
    this.serving = true;
    if (listeningCluster()) this.enter();
  }

  /** The app listens, or is about to. */
  enter(): void {
    const cluster = clusterModule();
    if (this.serving && cluster && this.child.connected) enterCopy(cluster, this.inCluster(cluster));
  }

  private inCluster(cluster: ClusterModule): Copy {
    const { index, child } = this;
    const orders: CopyOrders = {
      leave: () => this.leave(),
      signal: (signal) => {
        if (!RELAYED_NUMBERS.includes(signal)) return false;
        // sent to the process it would be one for the whole app
        this.orders.signal(signal);
        return true;
      },
    };
    this.copy ??= makeCopy(cluster, { index, child, orders });
    return this.copy;
  }

  /** It has said that it disconnects because the app there wants it (cluster.worker.disconnect()). */
  orderly(): void {
    this.isOrderly = true;
    if (this.copy) this.copy.exitedAfterDisconnect = true;
  }

  private leave(): void {
    this.serving = false;
    if (this.copy) removeCopy(this.copy);
    this.orders.leave();
  }

  private disconnected(): void {
    const { copy } = this;
    if (!copy) return;
    copy.exitedAfterDisconnect = this.isOrderly || !!copy.exitedAfterDisconnect;
    copy.state = 'disconnected';
    copy.emit('disconnect');
  }

  private ended(code: number | null, signal: NodeJS.Signals | null): void {
    this.serving = false;
    const { copy } = this;
    if (!copy) return;
    removeCopy(copy);
    copy.exitedAfterDisconnect = this.isOrderly || !!copy.exitedAfterDisconnect;
    copy.state = 'dead';
    copy.emit('exit', code, signal);
  }
}
