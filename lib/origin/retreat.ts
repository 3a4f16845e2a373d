// SPDX-License-Identifier: Apache-2.0
import type { State } from '../state';
import { LEAVE_MS } from '../workers/lifecycle';
import type { WorkerPool } from '../workers/pool';
import type { Groups } from './groups';
import type { Served } from './served';
import { becomeSingle } from './single';

export interface RetreatOptions {
  state: State;
  groups: Groups;
  pool: WorkerPool;
  served: Served;
  /** There are other sockets and processes to look after when a signal ends the app. */
  changed(): void;
}

/** The ways back to one process. */
export class Retreat {
  /** Why the app stays, or went back to, one process. */
  reason: string | undefined;

  constructor(private readonly options: RetreatOptions) {}

  /** A fork that comes later still wins: the origin serves again, the workers drain and go. */
  withdraw(reason: string): void {
    this.begin(reason);
    this.options.served.resteerAll();
    this.tellToLeave();
  }

  /** The copy has failed: from here on the app is plain Node. */
  giveUp(reason: string): void {
    const { groups, served, changed } = this.options;
    this.begin(reason);
    this.endCopies();
    for (const group of groups) served.becomeSingle(group);
    changed();
  }

  /** Without a program the kernel may have given a copy connections already: it closes, and is ended soon after. */
  endCopies(): void {
    const { pool, groups } = this.options;
    const { live } = pool;
    const end = () => live.forEach((worker) => pool.kill(worker));
    if (!live.some(({ index }) => groups.exposes(index))) return end();
    this.tellToLeave();
    setTimeout(end, LEAVE_MS).unref();
  }

  private begin(reason: string): void {
    this.reason = reason;
    becomeSingle(this.options.state, reason);
    this.options.pool.stopRestarts();
  }

  private tellToLeave(): void {
    const { pool } = this.options;
    for (const worker of pool.live) pool.send(worker, { kind: 'leave' });
  }
}
