// SPDX-License-Identifier: Apache-2.0
import {
  describeDatagram,
  isSharedKey,
  pathKey,
  pathOfKey,
  type SharedAddress,
  sharedAddress,
  sharedKey,
} from '../group/shared-address';
import { captureContext } from '../hook/context';
import { onFirstDatagram } from '../hook/first-datagram';
import {
  closeUnnoticed,
  type Datagram,
  type GetServerCallback,
  interceptClose,
  isServer,
  type ServerQuery,
} from '../hook/node';
import type { PipeServer } from '../hook/pipes';
import { serverData, setServerData } from '../hook/server-data';
import type { SharableHandle } from '../hook/sharables';
import { leaveShared, wrapShared } from '../hook/shared-handles';
import type { ServerInside } from '../hook/tcp';
import { shareMemberships, type UdpHandle } from '../hook/udp';
import { hookUnlink } from '../hook/unlink';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { isRefusal } from '../native/refusals';
import type { ToOrigin } from '../workers/messages';
import type { InheritedSockets } from './inherited';
import { type Asking, stillWaits, type Waiting } from './shared-asking';
import { SharedEndings } from './shared-endings';

/** A timer that has nothing to do. */
const ALIVE_MS = 60_000;
/** What net.js says where the app names none (lib/net.js, setupListenHandle). */
const BACKLOG = 511;

interface Open {
  address: SharedAddress;
  key: string;
  generation: number;
  handle: SharableHandle;
  asking: ServerInside | Datagram;
  server: ServerInside | undefined;
  backlog: number;
}

export interface SharedBindsOptions {
  addon: Addon;
  inherited: InheritedSockets;
  tell(message: ToOrigin): void;
  /** The last connection of a server that has closed has ended. */
  ended(): void;
}

/** In a worker: servers on paths and UDP sockets on fixed ports, which are duplicates of the origin's. */
export class SharedBinds {
  private readonly open = new Map<string, Open>();
  private readonly waiting = new Set<Waiting>();
  /** Their socket has ended, while the app has just opened it again: they go on with the origin's next one. */
  private readonly moving = new Map<string, Open>();
  /** `key generation` of what the app has closed here. */
  private readonly closedOnce = new Set<string>();
  private alive: NodeJS.Timeout | undefined;
  private unlinkHooked = false;
  private readonly endings: SharedEndings;

  constructor(private readonly options: SharedBindsOptions) {
    const { tell, ended } = options;
    this.endings = new SharedEndings((name) => tell({ kind: 'served', ...name }), ended);
  }

  /** How many servers have closed whose connections have not ended. */
  get ending(): number {
    return this.endings.size;
  }

  /** It listens again, wherever. */
  reopened(server: ServerInside): void {
    this.endings.reopened(server);
  }

  /** Paths of the origin's are there from the start. */
  install(): void {
    this.sparePaths();
  }

  private sparePaths(): void {
    const { inherited } = this.options;
    if (this.unlinkHooked || !inherited.keys.some((key) => pathOfKey(key) !== undefined)) return;
    this.unlinkHooked = true;
    hookUnlink((path) => {
      // another process may have opened it a moment ago
      inherited.read();
      const spared = inherited.isThere(pathKey(path));
      if (spared) debug('%s is the origin’s and stays', path);
      return spared;
    });
  }

  /** One listen() of a server, or bind() of a UDP socket; false where it is this process's own affair. */
  take(
    asking: ServerInside | Datagram,
    query: ServerQuery,
    callback: GetServerCallback,
    alone: () => void,
  ): boolean {
    const address = sharedAddress(query);
    if (!address) return false;
    const { inherited, tell } = this.options;
    const key = sharedKey(address);
    // the second of one process: the kernel says what it says in plain Node
    if (this.open.has(key) || this.moving.has(key)) return false;
    inherited.read();
    const { _listeningId: listeningId } = asking as { _listeningId?: number };
    const asked: Asking = {
      address,
      key,
      asking,
      listeningId,
      backlog: query.backlog || BACKLOG,
      callback,
      alone,
    };
    if (inherited.isThere(key)) return this.use(asked);
    if (!process.connected) return false;
    // a path that has gone: the origin has closed it, or knows no more than we do
    inherited.drop(key);
    this.waiting.add({ ...asked, inContext: captureContext() });
    // what waits to listen keeps its process alive
    this.alive ??= setInterval(() => {}, ALIVE_MS);
    const data = isServer(asking) ? serverData(asking) : undefined;
    tell({ kind: 'share', address, ...(data && { data }) });
    return true;
  }

  /** The inherited socket becomes what the app has asked for; false where that cannot be. */
  private use({ address, key, asking, backlog, callback }: Asking): boolean {
    const { inherited } = this.options;
    const found = inherited.find(key);
    if (found.kind !== 'group') return false;
    const handle = wrapShared(address, found.fd, inherited.descriptors(key));
    if (typeof handle === 'number') return this.unshareable(address, handle);
    const server = isServer(asking) ? asking : undefined;
    const open = { address, key, generation: found.generation, handle, asking, server, backlog };
    if (address.kind === 'udp') this.shareDatagrams(open);
    // by the one that has bound it; here the path may be gone by then
    else Object.defineProperty(handle, 'fchmod', { value: () => 0, configurable: true, enumerable: false });
    setServerData(server, found.data);
    debug('%s is shared', key);
    this.opened(open);
    callback(0, handle);
    return true;
  }

  /** Bound here as well it would be in use: where this is so in each copy, the app is to be one process. */
  private unshareable(address: SharedAddress, error: number): boolean {
    const { tell } = this.options;
    if (address.kind === 'path' || !isRefusal(error) || !process.connected) {
      debug('%s cannot be shared: errno %d', sharedKey(address), -error);
      return false;
    }
    const what = describeDatagram(sharedKey(address));
    tell({ kind: 'unfit', reason: `${what} cannot be shared: bind or dup3 fails (errno ${-error})` });
    return true;
  }

  private shareDatagrams({ key, generation, handle }: Open): void {
    shareMemberships(handle as UdpHandle);
    onFirstDatagram(handle as UdpHandle, (first) =>
      this.options.tell({ kind: 'first', key, generation, first }),
    );
  }

  private opened(open: Open): void {
    const { key, generation, handle } = open;
    this.open.set(key, open);
    interceptClose(handle, (close) => {
      this.closed(open);
      close();
    });
    this.options.tell({ kind: 'used', key, generation });
  }

  private closed(open: Open): void {
    const { key, generation, server } = open;
    if (this.moving.get(key) === open) this.moving.delete(key);
    if (this.open.get(key) !== open) return;
    this.open.delete(key);
    this.closedOnce.add(`${key} ${generation}`);
    if (server) this.endings.begin(open, server);
    this.options.tell({ kind: 'unused', key, generation });
  }

  /** Something has come from the origin. */
  look(): void {
    const { inherited } = this.options;
    inherited.read();
    this.sparePaths();
    for (const waiting of [...this.waiting]) {
      const { key, alone, inContext } = waiting;
      if (!inherited.has(key) && !inherited.isAnswered(key)) continue;
      this.waiting.delete(waiting);
      inContext(() => {
        if (!stillWaits(waiting)) return;
        if (this.open.has(key) || !inherited.has(key) || !this.use(waiting)) {
          inherited.find(key); // the answer is used up
          alone();
        }
      });
    }
    for (const open of [...this.moving.values()]) this.move(open);
    if (this.waiting.size > 0) return;
    clearInterval(this.alive);
    this.alive = undefined;
  }

  /** The origin's socket of this name has ended. */
  unshare(key: string, generation: number): void {
    const { inherited, tell } = this.options;
    inherited.read();
    inherited.drop(key, generation);
    const open = this.open.get(key);
    if (open?.generation === generation) this.end(open);
    this.closedOnce.delete(`${key} ${generation}`);
    tell({ kind: 'unshared', key, generation });
    this.endings.await({ key, generation });
  }

  private end(open: Open): void {
    const { key, generation, server, address } = open;
    const reopened = this.closedOnce.has(`${key} ${generation}`);
    debug('%s ends here%s', key, reopened ? ' until the origin has it again' : '');
    if (server && !reopened) return closeUnnoticed(server);
    this.vacate(open);
    if (!reopened) return;
    this.moving.set(key, open);
    this.options.tell({ kind: 'share', address });
    this.move(open);
  }

  /** The app believes that it has it still. */
  private vacate({ key, handle, address }: Open): void {
    this.open.delete(key);
    const { addon } = this.options;
    // the socket lives on in other processes, and so would what libuv's epoll set holds of it (epoll(7))
    addon.pollDelete(handle.fd);
    if (address.kind === 'path') addon.vacate(handle.fd);
    else if (leaveShared(handle as UdpHandle, address.bind.family, addon) === 0) addon.pollAdd(handle.fd);
  }

  private move(open: Open): void {
    const { addon, inherited } = this.options;
    const { key, handle, backlog } = open;
    if (!inherited.has(key)) return;
    const found = inherited.find(key);
    if (found.kind !== 'group') return;
    this.moving.delete(key);
    addon.pollDelete(handle.fd);
    const error = addon.occupy(handle.fd, found.fd);
    if (error < 0) return debug('%s does not go on: dup3 fails (errno %d)', key, -error);
    setServerData(open.server, found.data);
    if (open.server) (handle as PipeServer).listen(backlog);
    addon.pollAdd(handle.fd);
    debug('%s goes on', key);
    this.opened({ ...open, generation: found.generation });
  }

  /** This process is about to end, when its last connections have. Until then it can send, and takes nothing from others. */
  leave(): void {
    for (const open of [...this.open.values()])
      if (open.server) closeUnnoticed(open.server);
      else this.vacate(open);
  }

  /** Cluster closes all that came by way of it, and waits for nothing (lib/internal/cluster/child.js, _disconnect). */
  disconnected(): void {
    const { inherited } = this.options;
    for (const { asking, server } of [...this.open.values(), ...this.moving.values()])
      if (server) closeUnnoticed(server);
      else (asking as Datagram).close();
    this.waiting.clear();
    clearInterval(this.alive);
    for (const key of inherited.keys) if (isSharedKey(key)) inherited.drop(key);
  }
}
