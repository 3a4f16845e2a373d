// SPDX-License-Identifier: Apache-2.0
import type { ServerInside } from './tcp';

/**
 * Holds back the 'close' event of a server that closes, as net.js does for the handles of its cluster workers
 * (Server.prototype._emitCloseIfDrained).
 * @returns what lets it come, once the handle has been closed
 */
export function holdClose(server: ServerInside | undefined): () => void {
  if (!server) return () => {};
  const wasDrained = server._connections === 0;
  server._connections++;
  return () => {
    server._connections--;
    // net.js looks for connections when close() is called, and only later for a handle: one that listens again is told, too
    if (wasDrained && server._handle) process.nextTick(() => server.emit('close'));
    else server._emitCloseIfDrained();
  };
}
