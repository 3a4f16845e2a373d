// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import { RELOADS } from '../signals/relayed';
import type { Lifecycle } from '../workers/lifecycle';
import type { ToOrigin } from '../workers/messages';
import type { Worker } from '../workers/pool';
import type { Renewal } from '../workers/renewal';
import type { Asks } from './asks';
import type { Attempts } from './attempts';
import type { ConnectionCount } from './connection-count';
import type { Groups } from './groups';
import type { Served } from './served';
import { MUTE_MS } from './shared-closings';
import type { SharedSockets } from './shared-sockets';

/** Whom the words of workers concern. */
export interface Hearers {
  groups: Groups;
  served: Served;
  renewal: Renewal<Worker>;
  asks: Asks;
  lifecycle: Lifecycle;
  counts: ConnectionCount;
  shared: SharedSockets<Worker>;
  attempts: Attempts;
  /** Other sockets are to be seen to at the origin's end. */
  changed(): void;
  /** The worker has begun to serve this group. */
  ready(worker: Worker, key: string, generation: number): void;
}

/** A worker that may live on for a while has given back all that it had: nothing of it is waited for. */
function workerParted({ groups, served }: Pick<Hearers, 'groups' | 'served'>, worker: Worker): void {
  worker.parted = true;
  groups.parted(worker.index);
  served.resteerAll();
}

/**
 * The channel of a worker has gone. One that has not parted before closes what it has (Worker.install), without a way to
 * say when: it is waited for no longer than MUTE_MS.
 */
export function channelLost(hearers: Pick<Hearers, 'groups' | 'served' | 'shared'>, worker: Worker): void {
  hearers.shared.channelLost(worker);
  if (worker.parted) return;
  worker.parted = true;
  setTimeout(() => {
    if (!worker.ended) workerParted(hearers, worker);
  }, MUTE_MS).unref();
}

/** Whatever a worker says is passed on to whom it concerns. */
export function hear(hearers: Hearers, worker: Worker, message: ToOrigin): void {
  const { groups, served, renewal, asks, lifecycle, counts, shared, attempts } = hearers;
  const { index } = worker;
  switch (message.kind) {
    case 'ready':
      return hearers.ready(worker, message.key, message.generation);
    case 'gone': {
      const group = groups.gone(index, message.key, message.generation);
      if (group) served.resteer(group);
      return;
    }
    case 'closed':
      groups.left(index, message.key, message.generation);
      if (!groups.servedBy(index)) renewal.closed(worker);
      return;
    case 'ask':
      return asks.asked(worker, message.keys);
    case 'owns':
      return asks.late.owns(worker, message.key);
    case 'released':
      debug('worker %d gives %s back', index, message.key);
      return asks.late.released(worker, message.key);
    case 'dropped':
      return groups.dropped(index, message.key, message.generation);
    case 'given':
      groups.given(message.key, message.generation);
      return hearers.changed();
    case 'stays':
      if (RELOADS.has(message.signal)) delete worker.toldAt;
      return;
    case 'unable':
      if (!lifecycle.copyFailed(message.reason)) debug('worker %d: %s', index, message.reason);
      return;
    case 'unfit':
      return lifecycle.fail(message.reason);
    case 'probed':
      return attempts.closedInCopy(message.key);
    case 'displaced':
      return served.displaced();
    case 'arrivals':
      return served.arrived(message.cpus);
    case 'connections':
      return counts.answered(message.id, index, message.count);
    case 'parts':
      return workerParted(hearers, worker);
    default:
      return shared.message(worker, message);
  }
}
