// SPDX-License-Identifier: Apache-2.0
// What servers on one address have in common in all processes. Node's cluster sends it along with its answers to listen()
// (lib/internal/cluster/child.js, _getServer); without it a TLS session could be resumed by the process that has begun it alone.
import { debug } from '../log';
import type { ServerInside } from './tcp';

/** The keys with which session tickets are encrypted, for one (lib/internal/tls/wrap.js, Server.prototype._getServerData). */
export type ServerData = Readonly<Record<string, unknown>>;

interface Sharing {
  _getServerData?: () => ServerData;
  _setServerData?: (data: ServerData) => void;
}

/** What this server would tell those of other processes; undefined where it has nothing to tell, as most. */
export function serverData(server: ServerInside | undefined): ServerData | undefined {
  const sharing = server as Sharing | undefined;
  if (typeof sharing?._getServerData !== 'function') return undefined;
  try {
    return sharing._getServerData();
  } catch (error) {
    debug('a server keeps its session keys to itself: %s', (error as Error).message);
    return undefined;
  }
}

/** What has been made of a server. */
const applied = new WeakMap<ServerInside, string>();

/**
 * Makes it of this server, which is about to listen. What has been made of it before is not, when it listens again: the app
 * may have changed its keys since.
 */
export function setServerData(server: ServerInside | undefined, data: ServerData | undefined): void {
  const sharing = server as Sharing | undefined;
  if (!server || data === undefined || typeof sharing?._setServerData !== 'function') return;
  const text = JSON.stringify(data);
  if (applied.get(server) === text) return;
  applied.set(server, text);
  try {
    sharing._setServerData(data);
  } catch (error) {
    debug('a server has session keys of its own: %s', (error as Error).message);
  }
}
