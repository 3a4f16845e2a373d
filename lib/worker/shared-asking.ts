// SPDX-License-Identifier: Apache-2.0
import type { SharedAddress } from '../group/shared-address';
import type { InContext } from '../hook/context';
import { type Datagram, type GetServerCallback, isServer } from '../hook/node';
import type { ServerInside } from '../hook/tcp';

/** One listen() or bind() of the app. */
export interface Asking {
  address: SharedAddress;
  key: string;
  asking: (ServerInside & { _listeningId?: number }) | Datagram;
  /** net.js counts listen() and close() of a server, to know late answers (lib/net.js, listenInCluster). */
  listeningId: number | undefined;
  /** Of a server. */
  backlog: number;
  callback: GetServerCallback;
  /** Lets the app bind for itself. */
  alone(): void;
}

/** One that waits for the origin's answer. */
export interface Waiting extends Asking {
  inContext: InContext;
}

/** The app has not closed it meanwhile. */
export function stillWaits({ asking, listeningId }: Waiting): boolean {
  // dgram.js looks for itself (bindServerHandle)
  return !isServer(asking) || (asking as { _listeningId?: number })._listeningId === listeningId;
}
