// SPDX-License-Identifier: Apache-2.0

import { type ServerData, serverData } from '../hook/server-data';
import type { SharableHandle } from '../hook/sharables';
import type { ServerInside } from '../hook/tcp';
import type { Handover } from '../workers/messages';

/** One socket of the tree's. */
export interface Shared {
  readonly key: string;
  readonly generation: number;
  /** The app's own; or what has been made for copies, as long as the app has none here. */
  handle: SharableHandle;
  made: SharableHandle | undefined;
  /** Of a path; see fileOf(). */
  readonly file: string | undefined;
  /** What servers on it have in common where copies have opened it: what the first one has said. */
  readonly data: ServerData | undefined;
  /** Workers, by index, that have a descriptor, and those whose app has something open on it. */
  readonly holders: Set<number>;
  readonly users: Set<number>;
  /** Workers that had a descriptor, live on without a channel, and cannot say when their last connection has ended. */
  readonly mute: Set<number>;
  /** While it closes: a duplicate, for the app that opens it again before all workers have let go. -1: none is needed. */
  kept: number;
  /** While it closes: workers that may have connections, and what lets the app see its server's end without them. */
  readonly serving: Set<number>;
  letClose: (() => void) | undefined;
  /** When it began to close, by performance.now(). */
  closesSince: number;
}

export type Named = Pick<Shared, 'key' | 'generation'>;

export function newShared(
  named: Named & Pick<Shared, 'handle' | 'made' | 'file'> & { data?: ServerData | undefined },
): Shared {
  return {
    data: undefined,
    ...named,
    holders: new Set(),
    users: new Set(),
    mute: new Set(),
    kept: -1,
    serving: new Set(),
    letClose: undefined,
    closesSince: Number.POSITIVE_INFINITY,
  };
}

/** Nobody's in the origin: made for copies. */
export const isMade = ({ made, handle }: Shared): boolean => made !== undefined && made === handle;

/** What was made for copies, and none of them has open. */
export const isUnused = (shared: Shared): boolean => isMade(shared) && shared.users.size === 0;

/** @param server the app's own, where it has one here */
export function handedOn(shared: Shared, server: ServerInside | undefined): Handover['sockets'][number] {
  const { key, generation, file } = shared;
  const data = isMade(shared) ? shared.data : serverData(server);
  return { key, generation, ...(file !== undefined && { file }), ...(data && { data }) };
}

/** Names that are remembered at most, the latest. */
const MOST_NAMES = 1_000;

export function remember(names: Set<string>, name: string): void {
  names.delete(name);
  names.add(name);
  if (names.size <= MOST_NAMES) return;
  const [oldest] = names;
  names.delete(oldest as string);
}
