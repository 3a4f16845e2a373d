// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';
import { debug } from '../log';
import type { Handover, ToWorker } from '../workers/messages';
import type { Worker, WorkerPool } from '../workers/pool';
import type { Attempts } from './attempts';
import type { EarlyConnects } from './early-connects';
import type { Groups } from './groups';
import { early } from './inheritance';

export interface GivingOptions {
  pool: Pick<WorkerPool, 'get' | 'live' | 'send' | 'hand'>;
  groups: Pick<Groups, 'handover'>;
  attempts: Attempts;
  earlyConnects: EarlyConnects;
}

/** What workers that live are told, and given of what the origin has. */
export class Giving {
  constructor(private readonly options: GivingOptions) {}

  /** Returns false where there is no such worker. */
  tell(index: number, message: ToWorker): boolean {
    const { pool } = this.options;
    const worker = pool.get(index);
    if (worker) pool.send(worker, message);
    return worker !== undefined;
  }

  tellAll(message: ToWorker): void {
    const { pool } = this.options;
    for (const worker of pool.live) pool.send(worker, message);
  }

  /** Its socket of this group. */
  give(worker: Worker, group: ListenerGroup): void {
    if (worker.killed || worker.parted) return;
    const { fds, handover } = this.options.groups.handover(worker.index, [group]);
    this.handWithEarly(worker, handover, fds);
  }

  /** Descriptors, or an answer to 'ask'. */
  hand(worker: Worker, handover: Handover, fds: number[] = []): void {
    const { pool } = this.options;
    const sent = pool.hand(worker, handover, fds);
    if (sent < 0) debug('worker %d could not be given its sockets (errno %d)', worker.index, -sent);
    pool.send(worker, { kind: 'look' });
  }

  /** The same, with what the app has asked about its own ports by now. */
  handWithEarly(worker: Worker, handover: Handover, fds: number[] = []): void {
    const { earlyConnects, attempts } = this.options;
    this.hand(worker, { ...handover, ...early(earlyConnects, attempts) }, fds);
  }
}
