// SPDX-License-Identifier: Apache-2.0
import { keysOf } from '../group/key';
import { captureContext, type InContext } from '../hook/context';
import type { ServerQuery } from '../hook/node';
import type { ServerInside } from '../hook/tcp';
import type { InheritedSockets } from './inherited';

interface Late {
  server: ServerInside & { _listeningId?: number };
  listeningId: number | undefined;
  keys: string[];
  /** Lets net.js bind and listen, which finds the answer in the inherited sockets. */
  proceed(): void;
  inContext: InContext;
}

/** listen() calls for which the origin has no socket (yet): they wait for its answer, as in a worker of Node's cluster. */
export class LateListens {
  private readonly waiting = new Set<Late>();

  constructor(
    private readonly inherited: InheritedSockets,
    private readonly ask: (keys: string[]) => void,
  ) {}

  /** One listen() of the app; false where it need not wait. */
  take(server: ServerInside, query: ServerQuery, proceed: () => void): boolean {
    const { port, addressType, fd } = query;
    if (!(port > 0) || (addressType !== 4 && addressType !== 6) || (fd ?? -1) >= 0) return false;
    const keys = keysOf(query);
    this.inherited.read();
    if (!process.connected || keys.some((key) => this.inherited.has(key) || this.inherited.isAnswered(key)))
      return false;
    const { _listeningId: listeningId } = server as Late['server'];
    this.waiting.add({ server, listeningId, keys, proceed, inContext: captureContext() });
    // a server that waits to listen keeps its process alive
    process.channel?.ref();
    this.ask(keys);
    return true;
  }

  /** Nobody waits for an answer any more. */
  end(): void {
    if (this.waiting.size > 0) process.channel?.unref();
    this.waiting.clear();
  }

  /** Something has come from the origin. */
  look(): void {
    this.inherited.read();
    for (const late of [...this.waiting]) {
      if (!late.keys.some((key) => this.inherited.has(key) || this.inherited.isAnswered(key))) continue;
      this.waiting.delete(late);
      if (this.waiting.size === 0) process.channel?.unref();
      // the app has closed it meanwhile, or listens elsewhere
      if (late.server._listeningId === late.listeningId) late.inContext(late.proceed);
    }
  }
}
