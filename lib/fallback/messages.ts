// SPDX-License-Identifier: Apache-2.0
import type { ServerData } from '../hook/server-data';
import type { Asked } from './mark';

/** A worker's word to the origin where there is no addon; travels under the same command as workers/messages. */
export type ToOrigin =
  /** It wants to listen; `keys` are the names that the address may have in the origin, best first. */
  | { kind: 'ask'; id: number; keys: string[] }
  | { kind: 'ready'; key: string; generation: number }
  /** The app has closed its server here. */
  | { kind: 'gone'; key: string; generation: number }
  /** The last connection of that server has ended. */
  | { kind: 'ended'; generation: number }
  /** The origin's 'close' has been obeyed, or there was nothing to close. */
  | { kind: 'closed'; key: string; generation: number }
  /** Its handlers of a signal have run, and it goes on serving. */
  | { kind: 'stays'; signal: number }
  /** A server on an address that is past in the origin has closed here too. */
  | { kind: 'probed'; key: string }
  | { kind: 'signal'; signal: number }
  /** It is no copy, and ends. */
  | { kind: 'unable'; reason: string }
  | { kind: 'connections'; id: number; count: number };

/** The origin's word to a worker. */
export type ToWorker =
  /**
   * With `key`: a listening handle comes with it, and what the server is to have in common with the origin's. With `past`:
   * the origin has listened there and has closed again, the copy only believes that it does. Else the address is the
   * worker's own affair.
   */
  | { kind: 'answer'; id: number; key?: string; generation?: number; data?: ServerData; past?: string }
  | { kind: 'signal'; signal: number }
  | { kind: 'close'; key: string; generation: number }
  | { kind: 'count'; key: string; id: number }
  /** More of what its marker has said; see mark.ts. */
  | { kind: 'asked'; asked: Asked }
  /** The app is one process again: close everything gracefully, then end. */
  | { kind: 'leave' }
  /** The app's worker.disconnect(): the same as far as servers go, and then no more than Node's own. */
  | { kind: 'disconnect' }
  | { kind: 'exit'; code: number };
