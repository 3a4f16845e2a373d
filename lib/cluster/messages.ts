// SPDX-License-Identifier: Apache-2.0
import type { Arrivals } from '../steering/arrivals';

/**
 * Between the app's primary and its own workers, over the channel that cluster has made. NODE_: 'internalMessage' events,
 * which the app never sees (lib/internal/child_process.js); Node's own cluster passes over what is not NODE_CLUSTER.
 */
export const CLUSTER_COMMAND = 'NODE_FASTSOCKET_CLUSTER';

/** A worker's word to the primary. `name`: the address that is listened on, see nameOf(). */
export type ToPrimary =
  /** A server here listens by way of the primary; `version` is the addon's. */
  | { kind: 'join'; name: string; version: number }
  | { kind: 'ready'; name: string; generation: number }
  /** Nothing here holds or serves the socket any more. */
  | { kind: 'closed'; name: string; generation: number }
  /** The same, and the server goes on listening by way of the primary. */
  | { kind: 'failed'; name: string; generation: number; why: string }
  | { kind: 'arrivals'; cpus: Arrivals[] }
  /** See ToOrigin in lib/workers/messages.ts. */
  | { kind: 'displaced' }
  /** With a handle: a connection that the server has no room for (maxConnections). */
  | { kind: 'refused'; name: string };

/** The primary's word to a worker. */
export type ToMember =
  /** With a handle, on which the descriptors wait: the socket, then those of the seat (Addon.balanceSeat) if `seat`. */
  | {
      kind: 'socket';
      name: string;
      generation: number;
      /** The worker's number in all groups. */
      index: number;
      /** CPU that it is to be pinned to. */
      cpu?: number;
      /** As in 'place'. */
      free?: readonly number[];
      backlog: number;
      seat: boolean;
    }
  /**
   * See ToWorker in lib/workers/messages.ts. It has been given a socket; those without a CPU may get one later. Without
   * `free` it may run all else where it runs it now.
   */
  | { kind: 'place'; core: number | null; free?: readonly number[] }
  /** Serve what is queued, close the socket, and go on by way of the primary. */
  | { kind: 'leave'; name: string; generation: number };

export function isClusterMessage<T>(message: unknown): message is { cmd: string; body: T } {
  return (
    typeof message === 'object' && message !== null && (message as { cmd?: unknown }).cmd === CLUSTER_COMMAND
  );
}
