// SPDX-License-Identifier: Apache-2.0
import type { SharedAddress } from '../group/shared-address';
import type { First } from '../hook/first-datagram';
import type { ServerData } from '../hook/server-data';
import type { EarlyConnect } from '../origin/early-connects';
import type { Arrivals } from '../steering/arrivals';

/** Messages whose cmd begins with NODE_ become 'internalMessage' events (lib/internal/child_process.js): the app never sees them. */
export const COMMAND = 'NODE_FASTSOCKET';

/** A worker's word to the origin, over the IPC channel. */
export type ToOrigin =
  | { kind: 'ready'; key: string; generation: number }
  | { kind: 'gone'; key: string; generation: number }
  | { kind: 'closed'; key: string; generation: number }
  /** A listen() that waits for the origin's answer; the names that the address may have, best first. */
  | { kind: 'ask'; keys: string[] }
  /** The worker has taken this address without asking: exclusive: true. The origin may come later. */
  | { kind: 'owns'; key: string }
  /** An address of the worker's own is free again. */
  | { kind: 'released'; key: string }
  /** The worker has no descriptor of this group's socket any more. */
  | { kind: 'dropped'; key: string; generation: number }
  /** The app here has given the socket to another process, too. */
  | { kind: 'given'; key: string; generation: number }
  /** Its handlers of a signal have run, and it goes on serving. */
  | { kind: 'stays'; signal: number }
  /** It is no copy, and ends. */
  | { kind: 'unable'; reason: string }
  /** The app cannot be more than one process. */
  | { kind: 'unfit'; reason: string }
  /** A server on an address that is past in the origin has closed here too. */
  | { kind: 'probed'; key: string }
  /** The event loop is not where it was: the CPUs that may be used have changed, perhaps. */
  | { kind: 'displaced' }
  /**
   * A server on a path, or a UDP socket, that waits for the tree's socket of this address. What this server has in common with
   * those of others if it is the first.
   */
  | { kind: 'share'; address: SharedAddress; data?: ServerData }
  /** The app has opened something on this shared socket. */
  | { kind: 'used'; key: string; generation: number }
  /** The app has closed what it had on this shared socket. */
  | { kind: 'unused'; key: string; generation: number }
  /** Which way the first datagram of the app's on this shared socket has gone here. */
  | { kind: 'first'; key: string; generation: number; first: First }
  /** The worker has no descriptor of this shared socket any more. */
  | { kind: 'unshared'; key: string; generation: number }
  /** After 'unshare': the last connection of this shared socket's server has ended. */
  | { kind: 'served'; key: string; generation: number }
  /** All its servers have closed, their last connections have ended, and it is about to give up the channel. */
  | { kind: 'parts' }
  | { kind: 'arrivals'; cpus: Arrivals[]; local: number; remote: number }
  | { kind: 'connections'; id: number; count: number };

/** The origin's word to a worker, over the IPC channel. */
export type ToWorker =
  | { kind: 'signal'; signal: number }
  /** There is something on the control socket: a socket, or an answer to 'ask'. */
  | { kind: 'look' }
  /** The origin wants to listen on this address, which is the worker's own. */
  | { kind: 'release'; key: string }
  | { kind: 'close'; key: string; generation: number }
  /** The origin has closed this shared socket: here it ends, too. */
  | { kind: 'unshare'; key: string; generation: number }
  | { kind: 'count'; key: string; generation: number; id: number }
  /** The app is one process again: close everything gracefully, then end. */
  | { kind: 'leave' }
  /** The app's worker.disconnect(): the same as far as servers go, and then no more than Node's own. */
  | { kind: 'disconnect' }
  /**
   * The CPU of its event loop from now on, null: none of its own; where all else may run, see Addon.unpinEventLoop(); and how
   * many workers there are to be.
   */
  | { kind: 'place'; core: number | null; free: readonly number[]; workers: number }
  | { kind: 'exit'; code: number };

/** What travels beside the file descriptors on the control socket: one name for each, in order. */
export interface Handover {
  sockets: {
    key: string;
    generation: number;
    /** The worker is to keep no descriptor of it when its server has closed: the socket has to leave the group then. */
    once?: boolean;
    /** Of a server on a path: the file that it was when it was bound; see fileOf(). */
    file?: string;
    /** What the worker's server is to have in common with the origin's. */
    data?: ServerData;
  }[];
  /** Three descriptors follow those of the sockets: the worker's seat in the balancing (Addon.balanceSeat). */
  seat?: boolean;
  /** Addresses that the origin could not have, and why (negative errno): the copy fares the same. */
  refused?: [key: string, error: number][];
  /** Changes of user and groups that the app has made in the origin; see CredentialHooks in lib/hook/credentials.ts. */
  credentials?: string[];
  /** Connections to this machine that were refused in the origin while it started. */
  early?: EarlyConnect[];
  /** With `early`: addresses that the origin listens on and has no sockets for. */
  alone?: string[];
  /** An answer to 'ask': this address is the worker's own affair. */
  own?: string;
  /** With `own`: how the origin's own attempt at this address ended, a negative errno; the copy's ends the same way. */
  error?: number;
  /** With `own`: the origin has listened there and has closed again, or listens there and has no sockets for workers. */
  past?: boolean;
  /** The hook's own tests: the port that has been opened for port 0, 0 where there is none. */
  opened?: number;
}

export function isOurs<T>(message: unknown): message is { cmd: string; body: T } {
  return typeof message === 'object' && message !== null && (message as { cmd?: unknown }).cmd === COMMAND;
}
