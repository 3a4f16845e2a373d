// SPDX-License-Identifier: Apache-2.0

import type { Handover } from '../workers/messages';
import { MOST_FDS, type PoolEvents, type Worker } from '../workers/pool';
import type { Attempts } from './attempts';
import type { ChangedUser } from './changed-user';
import type { EarlyConnects } from './early-connects';
import type { Groups } from './groups';
import type { Served } from './served';
import type { SharedSockets } from './shared-sockets';

interface Estate {
  groups: Groups;
  served: Served;
  shared: SharedSockets<Worker>;
  attempts: Attempts;
  user: ChangedUser;
  earlyConnects: EarlyConnects;
}

/**
 * What worker `index` has before its first line runs: its listeners, the servers on paths, its seat in the balancing, and
 * what has happened in the origin.
 */
export function inheritance(
  index: number,
  { groups, served, shared, attempts, user, earlyConnects }: Estate,
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
      ...early(earlyConnects, attempts),
    },
  };
}

function ownAddresses(): Set<string> {
  const { networkInterfaces } = require('node:os') as typeof import('node:os');
  try {
    const lists = Object.values(networkInterfaces());
    return new Set(lists.flatMap((list) => list?.map(({ address }) => address) ?? []));
  } catch {
    return new Set(); // netlink sockets are refused
  }
}

/** What the app has asked about its own ports; most apps do not. */
export function early(connects: EarlyConnects, attempts: Attempts): Pick<Handover, 'early' | 'alone'> {
  const list = connects.toItself(ownAddresses);
  return list.length > 0 ? { early: list, alone: attempts.aloneNow } : {};
}
