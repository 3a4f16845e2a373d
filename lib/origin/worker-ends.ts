// SPDX-License-Identifier: Apache-2.0
import type { OriginSignals } from '../signals/origin-signals';
import type { Worker, WorkerPool } from '../workers/pool';
import type { Succession } from '../workers/succession';
import { judgeCanary } from './canary-end';
import type { Growth } from './growth';
import type { Hearers } from './worker-words';

/** Whom the end of a worker concerns. */
export interface EndHearers
  extends Pick<Hearers, 'groups' | 'served' | 'renewal' | 'asks' | 'lifecycle' | 'counts' | 'shared'> {
  pool: Pick<WorkerPool, 'get' | 'servedEnd'>;
  growth: Pick<Growth, 'replaces'>;
  succession: Succession<Worker>;
  signals: OriginSignals;
}

/** A worker has ended: nobody counts on it any more, and another one follows where one is wanted. */
export function workerEnded(
  hearers: EndHearers,
  worker: Worker,
  code: number | null,
  signal: string | null,
): void {
  const { groups, served, renewal, asks, lifecycle, counts, shared, pool, growth, succession, signals } =
    hearers;
  const { index } = worker;
  succession.ended(worker, code, signal);
  renewal.exited(worker);
  counts.workerLeft(index);
  asks.late.workerLeft(worker);
  // a canary that was ended may have a successor under its index already
  const successorSince = pool.get(index)?.startedAt;
  const replaced = successorSince !== undefined;
  if (!replaced) served.balancer.vacate(index);
  groups.ended(index, successorSince);
  shared.workerLeft(worker, successorSince);
  if (lifecycle.state === 'canary') {
    if (replaced) return;
    const told = worker.toldAt !== undefined || worker.ordered === true;
    return judgeCanary(lifecycle, signals, { code, signal, told });
  }
  served.resteerAll();
  if (lifecycle.state !== 'full' || groups.size === 0) return;
  const end = pool.servedEnd(worker, code, signal);
  if (end && lifecycle.workerExited(end)) return;
  if (growth.replaces(index)) succession.follow(worker, code, signal);
  served.lookAfterQueues();
}

/** No process came to be. */
export function workerNotStarted(hearers: EndHearers, index: number, error: Error): void {
  const { groups, served, lifecycle, shared, growth, succession } = hearers;
  served.balancer.vacate(index);
  for (const group of groups) group.holders.delete(index); // it has held nothing: what has left stays away
  shared.notStarted(index);
  if (lifecycle.copyFailed(`could not be started: ${error.message}`)) return;
  if (lifecycle.state !== 'full' || groups.size === 0) return;
  if (growth.replaces(index)) succession.notStarted(index, error);
}
