// SPDX-License-Identifier: Apache-2.0
import type { Server, Socket } from 'node:net';

/** http.Server with what its close() calls (lib/_http_server.js, httpServerPreClose). */
interface HttpServer extends Server {
  closeIdleConnections?(): void;
}

type HttpSocket = Socket & { _httpMessage?: { finished: boolean } | null };

/** lib/_http_server.js, kConnections: a ConnectionsList of src/node_http_parser.cc, which lists parsers. */
interface Connections {
  idle(): { socket: HttpSocket }[];
}

const CONNECTIONS = 'http.server.connections';
/** The first version whose list of idle connections has those that have sent nothing yet. */
const FIRST_MAJOR = 25;
/** A connection that is established has sent its first request by then, or is no client's. */
export const UNHEARD_MS = 1_000;

/**
 * Keeps http's close() from ending connections that have sent nothing yet: their first request is on the way, and no
 * established connection is to be lost. They are ended a second later if they are still silent.
 */
export function spareUnheard(server: HttpServer | undefined): void {
  const original = server?.closeIdleConnections;
  if (!server || !original || Number.parseInt(process.versions.node, 10) < FIRST_MAJOR) return;
  // the same server listens again, or the app has a function of its own there
  if (Object.hasOwn(server, 'closeIdleConnections')) return;
  const closeIdleConnections = function (this: HttpServer): void {
    const silent = unheard(this);
    // what http takes for the response that is under way; null after the first one, undefined before
    for (const socket of silent) socket._httpMessage = { finished: false };
    try {
      Reflect.apply(original, this, []);
    } finally {
      for (const socket of silent) delete socket._httpMessage;
    }
    if (silent.length > 0) setTimeout(() => Reflect.apply(original, this, []), UNHEARD_MS).unref();
  };
  Object.defineProperty(server, 'closeIdleConnections', {
    value: closeIdleConnections,
    configurable: true,
    enumerable: false,
    writable: true,
  });
}

function unheard(server: HttpServer): HttpSocket[] {
  const symbol = Object.getOwnPropertySymbols(server).find(({ description }) => description === CONNECTIONS);
  const connections = symbol && (server as unknown as Record<symbol, Connections | undefined>)[symbol];
  return (connections?.idle() ?? [])
    .map(({ socket }) => socket)
    .filter((socket) => socket && socket._httpMessage === undefined);
}
