// SPDX-License-Identifier: Apache-2.0
import { reaches } from '../group/reach';
import { refuseConnects } from '../hook/connects';
import type { TcpBinding } from '../hook/tcp';
import { debug } from '../log';
import type { EarlyConnect } from '../origin/early-connects';
import type { InheritedSockets } from './inherited';
import type { Listeners } from './listeners';

/** Of this worker, as it is now. */
export interface Addresses {
  /** What was refused in the origin. */
  early(): readonly EarlyConnect[];
  /** Names of the addresses that the origin listens on. */
  listenedOn(): readonly string[];
  /** This process listens there, too. */
  isOpen(key: string): boolean;
}

/**
 * Answers a copy that asks whether its port is taken as the origin was answered. So many connections are refused as were
 * refused there, and only while this process does not listen on what they would come to: an app that means to speak to
 * itself has been refused in the origin, too, and gets through here no later.
 */
export class EarlyConnects {
  private readonly answered = new Map<string, number>();

  constructor(private readonly addresses: Addresses) {}

  /** Whether this connection is to be refused; each such answer counts. */
  refuses(address: string, port: number): boolean {
    const { early, listenedOn, isOpen } = this.addresses;
    const [, , times = 0] = early().find((to) => to[0] === address && to[1] === port) ?? [];
    const name = `${address}|${port}`;
    const answered = this.answered.get(name) ?? 0;
    if (answered >= times) return false;
    const reached = listenedOn().filter((key) => reaches(key, address, port));
    if (reached.length === 0 || reached.some(isOpen)) return false;
    this.answered.set(name, answered + 1);
    debug('a connection to %s port %d is refused, as it was in the origin', address, port);
    return true;
  }
}

/** From here on, for the first connections of this worker. */
export function refuseEarlyConnects(
  tcp: TcpBinding,
  inherited: InheritedSockets,
  listeners: Pick<Listeners, 'has'>,
): void {
  const early = new EarlyConnects({
    early: () => {
      inherited.read();
      return inherited.early;
    },
    listenedOn: () => inherited.listenedOn,
    isOpen: (key) => listeners.has(key),
  });
  refuseConnects(tcp, (address, port) => early.refuses(address, port));
}
