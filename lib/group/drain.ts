// SPDX-License-Identifier: Apache-2.0
import type { InContext } from '../hook/context';
import { adoptConnection, type TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';

/**
 * Accepts everything that has finished its handshake on `fd` and gives it to the server behind `handle`, as libuv would.
 * @param inContext that in which the server began to listen: libuv's own connections run in the listening handle's
 * @returns how many connections were accepted
 */
export function drain(addon: Addon, handle: TcpHandle, fd: number, inContext: InContext): number {
  let accepted = 0;
  for (let child = addon.accept(fd); child >= 0; child = addon.accept(fd)) {
    const client = adoptConnection(child);
    if (typeof client === 'number') {
      addon.close(child);
      continue;
    }
    accepted++;
    inContext(() => handle.onconnection(0, client));
  }
  return accepted;
}
