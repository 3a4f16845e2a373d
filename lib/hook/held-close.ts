// SPDX-License-Identifier: Apache-2.0
import { captureContext, type InContext } from './context';
import type { ServerInside } from './tcp';

/**
 * Holds back the 'close' event of a server that closes. net.js asks _emitCloseIfDrained() for it whenever it may be due:
 * in close(), and at the end of each connection (lib/net.js, Server.prototype.close, Socket.prototype._destroy). It comes
 * in the async context of the one that was followed by it, which is remembered here.
 * @returns what lets it come, once the handle has been closed
 */
export function holdClose(server: ServerInside | undefined): () => void {
  if (!server) return () => {};
  let due: InContext | undefined;
  const emitCloseIfDrained = () => {
    if (!server._handle && server._connections === 0) due ??= captureContext();
  };
  Object.defineProperty(server, '_emitCloseIfDrained', {
    value: emitCloseIfDrained,
    configurable: true,
    enumerable: false,
    writable: true,
  });
  return () => {
    // it may have listened and closed once more since: that one's 'close' is still held back
    if (server._emitCloseIfDrained === emitCloseIfDrained)
      delete (server as Partial<ServerInside>)._emitCloseIfDrained;
    // a connection is open still, and will ask
    if (!due) return;
    // net.js looks for connections when close() is called, and only later for a handle: one that listens again is told, too
    if (server._handle) due(() => process.nextTick(() => server.emit('close')));
    else due(() => server._emitCloseIfDrained());
  };
}
