// SPDX-License-Identifier: Apache-2.0
import { isAbstract, pathOfKey } from '../group/shared-address';
import { holdClose } from '../hook/held-close';
import type { Sharables } from '../hook/sharables';
import { debug } from '../log';
import { isMade, type Shared } from './shared';
import type { SharedClosings } from './shared-closings';

export interface CloseSharedHooks<W> {
  sharables: Pick<Sharables, 'server'>;
  workers(): W[];
  /** A duplicate, or a negative errno. */
  dup(fd: number): number;
  /** The socket ends in this worker, too. */
  unshare(worker: W): void;
  closings: SharedClosings;
}

/**
 * Closed here, it is closed everywhere: after close() no connection and no datagram comes.
 * @param native closes libuv's handle the way Node would have
 */
export function closeShared<W extends { readonly index: number }>(
  shared: Shared,
  native: () => void,
  { sharables, workers, dup, unshare, closings }: CloseSharedHooks<W>,
): void {
  const { key, handle, made, holders, mute, serving } = shared;
  const live = workers().filter(({ index }) => holders.has(index));
  holders.clear();
  for (const { index } of live) holders.add(index);
  const server = isMade(shared) ? undefined : sharables.server(key);
  if (server) for (const index of [...holders, ...mute]) serving.add(index);
  if (serving.size > 0) shared.letClose = holdClose(server);
  const path = pathOfKey(key);
  // a path is free as soon as libuv has removed it (src/unix/pipe.c, uv__pipe_close); other addresses are not
  if (holders.size > 0 && (path === undefined || isAbstract(path))) shared.kept = dup(handle.fd);
  native();
  if (made && made !== handle) made.close();
  if (holders.size === 0 && serving.size === 0) return;
  debug('%s closes', key);
  for (const worker of live) unshare(worker);
  closings.begin(shared);
}
