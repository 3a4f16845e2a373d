// SPDX-License-Identifier: Apache-2.0
import { ClosingGroup } from '../group/closing';
import type { ListenerGroup } from '../group/listener-group';
import { debug } from '../log';
import type { WorkerPool } from '../workers/pool';
import type { Groups } from './groups';

/**
 * How long a copy that is being ended is waited for. One that may not be killed is only asked to end (Crew.kill), and if it
 * is blocked it never does.
 */
export const KILLED_MS = 5_000;

export interface CloseHooks {
  groups: Groups;
  pool: WorkerPool;
  /** Closes libuv's handle the way Node would have. */
  closeHandle(): void;
  /** Other sockets, or other workers, are to be seen to at the origin's end. */
  changed(): void;
}

/** close() on the origin's server, for whatever reason: the group is closed in every process that has a part in it. */
export function closeGroup(group: ListenerGroup, { groups, pool, closeHandle, changed }: CloseHooks): void {
  const { key, generation } = group;
  groups.remove(group);
  if (group.holders.size === 0) {
    group.closing = group.closed = true;
    group.closeSiblings();
    closeHandle();
    return changed();
  }
  debug('listener group %s closes', key);
  const closing = new ClosingGroup(group, {
    closeHandle,
    done: () => {
      groups.closed(closing);
      changed();
      debug('listener group %s has closed', key);
    },
  });
  groups.closes(closing);
  for (const index of group.holders) {
    const worker = pool.get(index);
    if (!worker) closing.workerLeft(index);
    // it has not come to listen, and would have nothing to do when it does
    else if (groups.size === 0 && worker.servedAt === undefined) pool.kill(worker);
    else pool.send(worker, { kind: 'close', key, generation });
    if (worker?.killed) setTimeout(() => closing.workerLeft(index), KILLED_MS).unref();
  }
}
