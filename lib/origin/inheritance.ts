// SPDX-License-Identifier: Apache-2.0
import { MOST_FDS, type PoolEvents, type Worker } from '../workers/pool';
import type { Attempts } from './attempts';
import type { ChangedUser } from './changed-user';
import type { Groups } from './groups';
import type { Served } from './served';
import type { SharedSockets } from './shared-sockets';

interface Estate {
  groups: Groups;
  served: Served;
  shared: SharedSockets<Worker>;
  attempts: Attempts;
  user: ChangedUser;
}

/**
 * What worker `index` has before its first line runs: its listeners, the servers on paths, its seat in the balancing, and
 * what has happened in the origin.
 */
export function inheritance(
  index: number,
  { groups, served, shared, attempts, user }: Estate,
): ReturnType<PoolEvents['sockets']> {
  const listeners = groups.handover(index);
  const own = served.balancer.seat(index);
  const paths = shared.handover(index, MOST_FDS - listeners.fds.length - own.length);
  return {
    fds: [...listeners.fds, ...paths.fds],
    own,
    handover: {
      sockets: [...listeners.handover.sockets, ...paths.sockets],
      seat: own.length > 0,
      refused: attempts.history,
      credentials: user.inherited,
    },
  };
}
