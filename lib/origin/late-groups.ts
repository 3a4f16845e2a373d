// SPDX-License-Identifier: Apache-2.0
import type { BindArguments } from '../group/key';
import { dropLateSockets, makeLateSockets, openLateSockets, tryProgram } from '../group/late-sockets';
import { ListenerGroup } from '../group/listener-group';
import type { Refusal } from '../group/refusal';
import type { InContext } from '../hook/context';
import type { TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';

/** A server that listens as in plain Node. */
export interface Listening {
  readonly key: string;
  readonly bind: BindArguments;
  readonly backlog: number;
  /** That in which it has begun to listen. */
  readonly inContext: InContext;
}

export interface LateOptions {
  addon: Addon;
  workers: number;
  originOnly: Uint8Array;
}

type Sockets = ReadonlyMap<TcpHandle, readonly number[]>;

const of = (key: string, { why, ...rest }: Refusal): Refusal => ({ ...rest, why: `${key}: ${why}` });

/**
 * Sockets for the workers of servers that listen alone, for all of them or for none.
 * @returns the sockets, or why there are none
 */
export function makeAllLateSockets(
  { addon, workers, originOnly }: LateOptions,
  listening: ReadonlyMap<TcpHandle, Listening>,
): Sockets | Refusal {
  const refused = tryProgram(addon, originOnly);
  if (refused) return refused;
  const made = new Map<TcpHandle, readonly number[]>();
  for (const [handle, { key }] of listening) {
    const sockets = makeLateSockets(addon, handle.fd, workers);
    if (!Array.isArray(sockets)) {
      dropAllLateSockets(addon, made);
      return of(key, sockets);
    }
    made.set(handle, sockets);
  }
  return made;
}

/** The servers listen alone, as ever. */
export function dropAllLateSockets(addon: Addon, made: Sockets): void {
  for (const [{ fd }, sockets] of made) dropLateSockets(addon, fd, sockets);
}

/**
 * Makes the servers listener groups, all of them or none.
 * @returns the groups, or why there are none
 */
export function openLateGroups(
  { addon, workers, originOnly }: LateOptions,
  listening: ReadonlyMap<TcpHandle, Listening>,
  made: Sockets,
  nextGeneration: () => number,
): ListenerGroup[] | Refusal {
  const groups: ListenerGroup[] = [];
  const left = new Map(made);
  for (const [handle, { key, bind, backlog, inContext }] of listening) {
    const options = { key, generation: nextGeneration(), bind, handle, backlog, workers, originOnly };
    const group = inContext(() => new ListenerGroup(addon, options));
    const refused = openLateSockets(addon, group, made.get(handle) ?? [], originOnly);
    if (refused) {
      for (const before of groups) {
        before.becomeSingle();
        addon.unsharePort(before.handle.fd);
      }
      dropAllLateSockets(addon, left);
      return of(key, refused);
    }
    left.delete(handle);
    groups.push(group);
  }
  return groups;
}
