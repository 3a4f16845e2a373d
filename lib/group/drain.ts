// SPDX-License-Identifier: Apache-2.0
import { adoptConnection, type TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';

/** Runs a function in the async context in which the server began to listen (AsyncLocalStorage.snapshot). */
export type InContext = <T>(f: () => T) => T;

/** The async context of now, for connections that we accept ourselves: libuv's own run in the listening handle's context. */
export function captureContext(): InContext {
  const { AsyncLocalStorage } = require('node:async_hooks') as typeof import('node:async_hooks');
  return AsyncLocalStorage.snapshot() as InContext;
}

/**
 * Accepts everything that has finished its handshake on `fd` and gives it to the server behind `handle`, as libuv would.
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
