// SPDX-License-Identifier: Apache-2.0
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './app';

export interface Tally {
  /** Requests that were answered in full. */
  answered: number;
  /** Connections that were never established: refused, or still trying at the end. */
  refused: number;
  /** Established connections, first request on each: it was sent and not answered. */
  lost: number;
  /** Keep-alive: a later request was sent and not answered. */
  cut: number;
}

const END = /\r\n0\r\n\r\n$|hello$/;

/**
 * Clients in a closed loop against the fixtures that answer `hello`: each connects, asks, waits for the answer, and
 * begins again; with keepAlive on the same connection as long as the server keeps it.
 */
export class Load {
  private readonly tally: Tally = { answered: 0, refused: 0, lost: 0, cut: 0 };
  private readonly sockets = new Set<Socket>();
  /** One for each connection that has not ended: whether it is established and waits for an answer. */
  private readonly open = new Set<() => boolean>();
  private stopped = false;

  constructor(
    private readonly port: number,
    private readonly options: { clients: number; keepAlive?: boolean; host?: string },
  ) {
    for (let i = 0; i < options.clients; i++) this.client();
  }

  get answered(): number {
    return this.tally.answered;
  }

  /** Connections that are established and wait for an answer now. */
  get pending(): number {
    return [...this.open].filter((waits) => waits()).length;
  }

  /** No client begins anew, and none asks again: a server that closes ends no connection that is busy without a pause. */
  stop(): void {
    this.stopped = true;
  }

  /** When the server has ended: its kernel ends all that is established, and whoever has no answer then gets none. */
  async result(): Promise<Tally> {
    this.stop();
    await sleep(20);
    await until(() => this.pending === 0, '', 5_000).catch(() => {});
    for (const waits of this.open) this.tally[waits() ? 'lost' : 'refused']++;
    this.open.clear();
    for (const socket of this.sockets) socket.destroy();
    return this.tally;
  }

  /** The same of a server that goes on: whoever is answered waits for its end, too, before it is counted. */
  async served(): Promise<Tally> {
    this.stop();
    await until(() => this.open.size === 0, '', 5_000).catch(() => {});
    return this.result();
  }

  private client(): void {
    if (this.stopped) return;
    const { keepAlive = false, host = '127.0.0.1' } = this.options;
    const socket = connect(this.port, host);
    this.sockets.add(socket);
    let established = false;
    let asked = 0;
    let answers = 0;
    let text = '';
    const waits = () => established && answers < asked;
    this.open.add(waits);
    const ask = () => {
      asked++;
      text = '';
      socket.write(`GET / HTTP/1.1\r\nHost: test\r\n${keepAlive ? '' : 'Connection: close\r\n'}\r\n`);
    };
    socket.on('connect', () => {
      established = true;
      ask();
    });
    socket.on('data', (data) => {
      text += data;
      if (!END.test(text)) return;
      answers++;
      this.tally.answered++;
      if (!keepAlive) return;
      if (!/^connection: keep-alive/im.test(text) || this.stopped) socket.end();
      else
        setImmediate(() => {
          if (!socket.destroyed && !socket.readableEnded) ask();
        });
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // a SYN is answered by ECONNREFUSED or not at all: this one was established, we had not looked yet
      if (error.code === 'ECONNRESET' && !established) {
        established = true;
        asked++;
      }
    });
    socket.on('close', () => {
      this.sockets.delete(socket);
      if (!this.open.delete(waits)) return;
      if (!established) this.tally.refused++;
      else if (waits()) this.tally[answers > 0 ? 'cut' : 'lost']++;
      // a refused client would spin
      if (established) setImmediate(() => this.client());
      else setTimeout(() => this.client(), 20);
    });
  }
}
