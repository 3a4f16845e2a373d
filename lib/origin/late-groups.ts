// SPDX-License-Identifier: Apache-2.0
import type { BindArguments } from '../group/key';
import { makeLateSockets, openLateSockets } from '../group/late-sockets';
import { ListenerGroup } from '../group/listener-group';
import type { InContext } from '../hook/context';
import type { TcpHandle } from '../hook/tcp';
import type { Multiplied } from './plan';

/** A server that listens as in plain Node. */
export interface Listening {
  readonly key: string;
  readonly bind: BindArguments;
  readonly backlog: number;
  /** That in which it has begun to listen. */
  readonly inContext: InContext;
}

/**
 * Makes servers that listen alone listener groups, all of them or none.
 * @returns the groups, or why there are none
 */
export function makeLateGroups(
  { addon, workers, originOnly }: Pick<Multiplied, 'addon' | 'workers' | 'originOnly'>,
  listening: ReadonlyMap<TcpHandle, Listening>,
  nextGeneration: () => number,
): ListenerGroup[] | string {
  const made: number[][] = [];
  for (const [handle, { key }] of listening) {
    const sockets = makeLateSockets(addon, handle.fd, workers, originOnly);
    if (typeof sockets === 'string') {
      for (const socket of made.flat()) addon.close(socket);
      return `${key}: ${sockets}`;
    }
    made.push(sockets);
  }
  const groups: ListenerGroup[] = [];
  for (const [handle, { key, bind, backlog, inContext }] of listening) {
    const sockets = made.shift() as number[];
    const options = { key, generation: nextGeneration(), bind, handle, backlog, workers, originOnly };
    const group = inContext(() => new ListenerGroup(addon, options));
    const refused = openLateSockets(addon, group, sockets, originOnly);
    if (refused !== undefined) {
      for (const before of groups) before.becomeSingle();
      for (const socket of made.flat()) addon.close(socket);
      return `${key}: ${refused}`;
    }
    groups.push(group);
  }
  return groups;
}
