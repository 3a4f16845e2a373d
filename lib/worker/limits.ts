// SPDX-License-Identifier: Apache-2.0
import { types } from 'node:util';

const NAME = 'maxConnections';
// as they are before the app
const { getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
const { hasOwn } = Object;
const { isProxy } = types;

/**
 * Whether a server takes whatever comes: net.Server.maxConnections counts in each process, and Node closes what is
 * accepted above it (lib/net.js, onconnection: undefined and null mean none). Asked in the middle of the event loop's
 * polling, where nothing of the app's may run: where only its code could tell, in a getter or a Proxy, the answer is no.
 */
export function takesAll(server: object): boolean {
  for (let holder: object | null = server; holder !== null; holder = getPrototypeOf(holder)) {
    if (isProxy(holder)) return false;
    const property = getOwnPropertyDescriptor(holder, NAME);
    if (property)
      return hasOwn(property, 'value') && (property.value === undefined || property.value === null);
  }
  return true;
}
