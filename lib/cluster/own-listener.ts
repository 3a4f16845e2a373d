// SPDX-License-Identifier: Apache-2.0
import { drain } from '../group/drain';
import type { FauxHandle } from '../hook/cluster';
import { captureContext, type InContext } from '../hook/context';
import { spareUnheard } from '../hook/http-close';
import type { ServerInside, TcpBinding, TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { takesAll } from '../worker/limits';

/** EINVAL: the socket has left LISTEN (accept(2)), which epoll reports again and again. */
const NO_LISTENER = -22;

export interface OwnListenerOptions {
  addon: Addon;
  tcp: TcpBinding;
  server: ServerInside;
  faux: FauxHandle;
  /** A connection that the server has no room for goes to another worker. */
  refuse(client: TcpHandle): void;
  /** The primary has ended the socket. */
  lost(): void;
}

/**
 * A server of the app's own worker on a socket of its own. For Node it goes on listening by way of the primary: its handle
 * stays the faux one, and so do address(), close(), 'listening' and disconnect().
 */
export class OwnListener {
  private real: TcpHandle | undefined;
  /** That of the channel, in which a worker's connections come without us, too. */
  private inContext: InContext = (f) => f();
  /** The primary's name for the group; undefined before it has given a socket. */
  generation: number | undefined;

  constructor(private readonly options: OwnListenerOptions) {}

  get listening(): boolean {
    return this.real !== undefined;
  }

  /** It listens on the socket of this group. */
  serves(generation: number): boolean {
    return this.listening && this.generation === generation;
  }

  /**
   * Accepts from `fd`, which is its own from now on.
   * @returns 0 or a negative errno
   */
  listen(fd: number, generation: number, backlog: number): number {
    const { addon, tcp, server } = this.options;
    const real = new tcp.TCP(tcp.constants.SERVER);
    const error = real.open(fd);
    if (error < 0) {
      addon.close(fd);
      return error;
    }
    addon.seamOwn(fd);
    real.onconnection = (status, client) => this.accepted(status, client);
    const failed = real.listen(backlog);
    if (failed < 0) {
      real.close();
      return failed;
    }
    this.real = real;
    this.inContext = captureContext();
    this.generation = generation;
    if ((server as ServerInside & { _unref?: boolean })._unref) real.unref();
    spareUnheard(server);
    addon.balanceHelp(fd, generation, server, takesAll);
    return 0;
  }

  /** Looks at the connections that come from now on. */
  get handle(): TcpHandle | undefined {
    return this.real;
  }

  private accepted(status: number, client: TcpHandle | undefined): void {
    const { server, faux, refuse, lost } = this.options;
    // as in the primary (lib/internal/cluster/round_robin_handle.js, distribute): nobody hears of a failed accept()
    if (status !== 0 || client === undefined) return status === NO_LISTENER ? lost() : undefined;
    if (isFull(server)) refuse(client);
    else faux.onconnection(0, client);
  }

  ref(): void {
    this.real?.ref();
  }

  unref(): void {
    this.real?.unref();
  }

  /** Serves what is queued and lets go of the socket. */
  close(): void {
    const { addon } = this.options;
    const { real, generation } = this;
    if (real === undefined || generation === undefined) return;
    addon.balanceFlush(generation);
    const accepted = drain(addon, real, real.fd, this.inContext);
    debug('leaves its own socket, %d connections were still queued', accepted);
    this.real = undefined;
    real.close();
  }
}

type Limited = ServerInside & { dropMaxConnection?: boolean };

/** Node 20 takes 0 for no limit (lib/net.js, onconnection), later ones do not. */
const ZERO_COUNTS = Number.parseInt(process.versions.node, 10) >= 22;

/** Whether a cluster worker sends a connection back to its primary (lib/internal/cluster/child.js, onconnection). */
export function isFull({ maxConnections: most, _connections: open, dropMaxConnection }: Limited): boolean {
  if (most === undefined || most === null || (most === 0 && !ZERO_COUNTS)) return false;
  return open >= most && !dropMaxConnection;
}
