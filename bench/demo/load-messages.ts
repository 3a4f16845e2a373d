// SPDX-License-Identifier: Apache-2.0
import type { Counts } from '../lib/latency';

export interface LoadSpec {
  driver: 'autocannon' | 'undici';
  origin: string;
  path: string;
  /** What every answer must be, with status 200. */
  expected: string;
  connections: number;
  /** A connection for each request; autocannon only. */
  reconnect: boolean;
}

/** To a client process; each message is answered by one of FromClient. */
export type ToClient =
  | { kind: 'start'; spec: LoadSpec }
  | { kind: 'begin' }
  | { kind: 'end' }
  | { kind: 'stop' };

/** What one client has seen between `begin` and `end`. */
export interface ClientWindow {
  answered: number;
  failed: number;
  /** Of the first failure. */
  failure?: string | undefined;
  elapsedMs: number;
  /** CPU time of the client process. */
  cpuMs: number;
  latency: Counts;
}

export type FromClient = { kind: 'done' } | { kind: 'window'; window: ClientWindow };
