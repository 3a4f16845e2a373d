// SPDX-License-Identifier: Apache-2.0
import { drain } from '../group/drain';
import type { InContext } from '../hook/context';
import { closeUnnoticed, interceptClose } from '../hook/node';
import type { ServerInside, TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import type { ToOrigin } from '../workers/messages';
import type { InheritedSockets } from './inherited';
import type { OwnPorts } from './own-ports';

export interface Listening {
  key: string;
  generation: number;
  handle: TcpHandle;
  backlog: number;
  inContext: InContext;
}

export interface ListenersOptions {
  addon: Addon;
  inherited: InheritedSockets;
  own: OwnPorts;
  tell(message: ToOrigin): void;
  /** How many other servers are closing, whose connections are waited for, too. */
  others(): number;
}

/** Servers of this process on sockets of the origin's, from listen() until their last connection has ended. */
export class Listeners {
  private readonly open = new Map<string, Listening>();
  /** Groups, by generation, whose server here the app has closed, and of these the ones on which it listened again. */
  private readonly closedOnce = new Set<number>();
  private readonly openedAgain = new Set<number>();
  /** Servers here that are closing, by the generation of their group: connections of it may live on. */
  private readonly ending = new Map<number, { key: string; owner: ServerInside | undefined }>();
  /** Of these, the ones that the origin waits for. */
  private readonly leaving = new Set<number>();
  /** The process ends when its servers have closed. */
  private going = false;

  constructor(private readonly options: ListenersOptions) {}

  get size(): number {
    return this.open.size;
  }

  has(key: string): boolean {
    return this.open.has(key);
  }

  /** It listens, and says so when its accept loop has run: listen() has only just returned. */
  add(listening: Listening): void {
    const { key, generation, handle } = listening;
    if (this.closedOnce.has(generation)) this.openedAgain.add(generation);
    this.open.set(key, listening);
    interceptClose(handle, (close) => this.closing(listening, close));
    setImmediate(() => {
      if (this.open.get(key) === listening) this.options.tell({ kind: 'ready', key, generation });
    });
  }

  /** Connections of the server on this group, closing or not. */
  connections(key: string, generation: number): number {
    const open = this.open.get(key);
    const server = open?.generation === generation ? open.handle.owner : this.ending.get(generation)?.owner;
    return server?._connections ?? 0;
  }

  /** The app closes its server, or the origin the group: steering goes first, then what is queued is served, then the socket. */
  private closing({ key, generation, handle, inContext }: Listening, close: () => void): void {
    const { addon, own, inherited, tell } = this.options;
    this.open.delete(key);
    own.vacated.delete(key);
    tell({ kind: 'gone', key, generation });
    addon.balanceFlush(generation);
    const accepted = drain(addon, handle, handle.fd, inContext);
    debug('%s closes here, %d connections were still queued', key, accepted);
    this.ending.set(generation, { key, owner: handle.owner });
    // what the origin has closed comes back under another number
    if (!this.leaving.has(generation)) this.closedOnce.add(generation);
    handle.owner?.once('close', () => this.ended(key, generation));
    close();
    if (inherited.serverClosed(key, generation)) tell({ kind: 'dropped', key, generation });
  }

  private ended(key: string, generation: number): void {
    this.ending.delete(generation);
    this.goIfDone();
    if (this.leaving.delete(generation)) this.options.tell({ kind: 'closed', key, generation });
  }

  /** It listens again, wherever: its 'close' will be that of another socket. */
  reopened(server: ServerInside): void {
    for (const [generation, { key, owner }] of [...this.ending])
      if (owner === server) this.ended(key, generation);
  }

  /** The origin closes the group. */
  closeGroup(key: string, generation: number): void {
    const { addon, inherited, tell } = this.options;
    addon.balanceFlush(generation);
    inherited.read();
    inherited.drop(key, generation);
    const listening = this.open.get(key);
    const open = listening?.generation === generation;
    const reopened = this.openedAgain.delete(generation);
    this.closedOnce.delete(generation);
    if (!open && !this.ending.has(generation)) return tell({ kind: 'closed', key, generation });
    if (open && reopened && this.park(listening)) return;
    this.leaving.add(generation);
    if (open) closeUnnoticed(listening.handle.owner);
    else tell({ kind: 'dropped', key, generation });
  }

  /**
   * A reload: this process has closed and listens again, the origin is still closing and will listen again, too. The
   * server goes on believing that it listens, and does as soon as the origin has a socket for it.
   * @returns false where the process may open no descriptor: the server has to close, or its socket would hold the port
   */
  private park(listening: Listening): boolean {
    const { own, tell } = this.options;
    const { key, generation } = listening;
    if (!own.park(key, listening)) return false;
    this.open.delete(key);
    tell({ kind: 'gone', key, generation });
    tell({ kind: 'closed', key, generation });
    return true;
  }

  closeAll(): void {
    for (const { handle } of [...this.open.values()]) closeUnnoticed(handle.owner);
  }

  /** This process listens on nothing of the origin's any more, and will not again. */
  letGo(): void {
    const { inherited } = this.options;
    inherited.read();
    for (const key of inherited.keys) inherited.drop(key);
  }

  /** Another process is about to have this descriptor, too. */
  give(fd: number): void {
    for (const { key, generation, handle } of this.open.values())
      if (handle.fd === fd) this.options.tell({ kind: 'given', key, generation });
  }

  /** Closes all, and ends the process when the last connection has ended. */
  leave(): void {
    this.closeAll();
    this.going = true;
    this.goIfDone();
  }

  goIfDone(): void {
    if (this.going && this.ending.size === 0 && this.options.others() === 0) process.exit(0);
  }
}
