// SPDX-License-Identifier: Apache-2.0
import { drain } from '../group/drain';
import { captureContext, type InContext } from '../hook/context';
import { closeUnnoticed } from '../hook/node';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';

interface OwnPort {
  handle: TcpHandle;
  backlog: number;
  inContext: InContext;
}

/** Addresses on which this worker listens and the origin does not. The origin may come later, and asks for them then. */
export class OwnPorts {
  private readonly ports = new Map<string, OwnPort>();
  /** Given back: the server believes that it listens, and will again when the origin's socket comes. */
  readonly vacated = new Map<string, OwnPort>();

  constructor(
    private readonly addon: Addon,
    private readonly released: (key: string) => void,
  ) {}

  add(key: string, handle: TcpHandle, backlog: number): void {
    this.ports.set(key, { handle, backlog, inContext: captureContext() });
  }

  has(key: string): boolean {
    return this.ports.has(key);
  }

  closed(key: string): void {
    if (this.ports.delete(key)) this.released(key);
    this.vacated.delete(key);
  }

  /**
   * What is queued is served, then the descriptor becomes another socket, so that the port is free; libuv's handle stays
   * as it is.
   */
  release(key: string): void {
    const port = this.ports.get(key);
    if (!port) return this.released(key);
    // no descriptor to be had: a server that closes lets go of the port, too
    if (!this.park(key, port)) return closeUnnoticed(port.handle.owner);
    this.ports.delete(key);
    this.released(key);
  }

  /** The same for any listening handle. */
  park(key: string, port: OwnPort): boolean {
    const { handle, inContext } = port;
    drain(this.addon, handle, handle.fd, inContext);
    // the listener lives on in other processes, and so would what libuv's epoll set holds of it (epoll(7)): the loop would
    // be woken by connections that it cannot accept
    const polled = this.addon.pollDelete(handle.fd) === 0;
    const error = this.addon.vacate(handle.fd);
    if (error < 0) {
      debug('%s closes here: getsockopt, socket or dup3 fails (errno %d)', key, -error);
      if (polled) this.addon.pollAdd(handle.fd);
      return false;
    }
    debug('%s waits for the origin', key);
    this.vacated.set(key, port);
    return true;
  }
}
