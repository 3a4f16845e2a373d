// SPDX-License-Identifier: Apache-2.0
import { describeDatagram, isThere, pathOfKey, type SharedAddress, sharedKey } from '../group/shared-address';
import { interceptClose } from '../hook/node';
import { type ServerData, setServerData } from '../hook/server-data';
import type { SharableHandle, Sharables } from '../hook/sharables';
import { type Descriptors, enterShared, makeShared, wrapShared } from '../hook/shared-handles';
import { debug } from '../log';
import type { Handover, ToOrigin, ToWorker } from '../workers/messages';
import { Askers } from './askers';
import { closeShared } from './close-shared';
import { OWN_MS } from './late-ports';
import { handedOn, isMade, isUnused, type Named, newShared, remember, type Shared } from './shared';
import { SharedClosings } from './shared-closings';
import { SharedWaits } from './shared-waits';

export interface SharedHooks<W> {
  addon: Descriptors;
  sharables: Sharables;
  workers(): W[];
  /** Gives a worker descriptors, or an answer, and tells it to look. */
  hand(worker: W, handover: Handover, fds: number[]): void;
  send(worker: W, message: ToWorker): void;
  /** The app cannot be more than one process. */
  unfit(reason: string): void;
}

type SharedMessage = Extract<
  ToOrigin,
  { kind: 'share' | 'used' | 'unused' | 'unshared' | 'served' | 'first' }
>;

/**
 * Servers on paths and UDP sockets: the origin's are the workers', too, as duplicates. Every process accepts or receives
 * for itself, the origin as well, so nothing is lost with a worker. What only copies open is made here for them, as
 * cluster's primary does (lib/internal/cluster/shared_handle.js).
 */
export class SharedSockets<W extends { readonly index: number }> {
  private readonly open = new Map<string, Shared>();
  private readonly closings: SharedClosings;
  private readonly waits = new SharedWaits<W>();
  /** What only copies have opened, the last time. */
  private readonly copies = new Set<string>();
  private readonly askers = new Askers((key) => this.judge(this.open.get(key)));
  private generation = 0;

  constructor(private readonly hooks: SharedHooks<W>) {
    const { sharables, addon } = hooks;
    this.closings = new SharedClosings((fd) => addon.close(fd));
    sharables.opened = (key) => this.opened(key);
    sharables.adopt = (key, handle) => this.adopt(key, handle);
    sharables.spoke = (key, handle, first) => {
      if (this.open.get(key)?.handle === handle) this.askers.first(key, first);
    };
  }

  /**
   * The servers on paths that worker `index` is given before its first line runs; all else is given when asked for.
   * @param room so many descriptors at most
   */
  handover(index: number, room: number): { fds: number[]; sockets: Handover['sockets'] } {
    const fds: number[] = [];
    const sockets: Handover['sockets'] = [];
    for (const key of new Set([...this.hooks.sharables.paths, ...this.open.keys()])) {
      if (pathOfKey(key) === undefined) continue;
      const shared = fds.length < room ? this.find(key) : undefined;
      if (!shared) continue;
      shared.holders.add(index);
      fds.push(shared.handle.fd);
      sockets.push(this.name(shared));
    }
    return { fds, sockets };
  }

  message(worker: W, message: SharedMessage): void {
    switch (message.kind) {
      case 'share':
        return this.asked(worker, message.address, message.data);
      case 'used':
        return this.used(worker.index, message);
      case 'unused':
        return this.unused(worker.index, message);
      case 'unshared':
        return this.closings.unshared(worker.index, message);
      case 'served':
        return this.closings.served(worker.index, message);
      case 'first':
        if (this.withGeneration(message)) this.askers.first(message.key, message.first);
        return;
    }
  }

  private asked(worker: W, address: SharedAddress, data: ServerData | undefined): void {
    const key = sharedKey(address);
    const shared = this.find(key);
    if (shared && isThere(key, shared.file)) {
      this.judge(shared, worker.index);
      return this.give(worker, shared);
    }
    if (shared) {
      debug('%s has been removed: worker %d binds it alone', key, worker.index);
      return this.hooks.hand(worker, { sockets: [], own: key }, []);
    }
    const make = () => this.make(key, address, data);
    this.waits.add(worker, key, OWN_MS, make);
    if (this.needsNoWait(key, address)) make();
  }

  /**
   * A UDP port is the origin's, too, whenever it comes; of a path it would remove what was made before it came. What has just
   * closed here is often opened again here in a moment.
   */
  private needsNoWait(key: string, { kind }: SharedAddress): boolean {
    return this.copies.has(key) || (kind === 'udp' && !this.closings.has(key));
  }

  private find(key: string): Shared | undefined {
    const known = this.open.get(key);
    if (known) return known;
    const handle = this.hooks.sharables.find(key);
    return handle && this.share(key, handle);
  }

  private share(key: string, handle: SharableHandle, made?: SharableHandle, data?: ServerData): Shared {
    const file = this.hooks.sharables.file(handle);
    const shared = newShared({ key, generation: ++this.generation, handle, made, file, data });
    this.open.set(key, shared);
    if (made) return shared;
    this.copies.delete(key);
    const first = this.hooks.sharables.first(handle);
    if (first) this.askers.first(key, first);
    interceptClose(handle, (native) => this.close(shared, native));
    return shared;
  }

  private give(worker: W, shared: Shared): void {
    shared.holders.add(worker.index);
    this.hooks.hand(worker, { sockets: [this.name(shared)] }, [shared.handle.fd]);
  }

  /** @param coming a worker that is about to use it, too */
  private judge(shared: Shared | undefined, coming?: number): void {
    if (!shared || !this.askers.has(shared.key)) return;
    const users = new Set(shared.users);
    if (coming !== undefined) users.add(coming);
    if (users.size + (isMade(shared) ? 0 : 1) < 2) return;
    this.hooks.unfit(
      `it sends from ${describeDatagram(shared.key)} before anything has come there: answers would reach any process`,
    );
  }

  /** The app may have opened it here. */
  private opened(key: string): void {
    if (!this.waits.has(key) && pathOfKey(key) === undefined) return;
    const shared = this.find(key);
    if (shared) this.giveAll(shared, this.waits.answered(key));
  }

  /** Those that wait have it, and all know of a path: they do not remove it then. */
  private giveAll(shared: Shared, waiting: Set<W>): void {
    for (const worker of waiting) this.give(worker, shared);
    if (pathOfKey(shared.key) === undefined) return;
    for (const worker of this.hooks.workers())
      if (!shared.holders.has(worker.index)) this.give(worker, shared);
  }

  /** The app has not opened it here: its copies have it. */
  private make(key: string, address: SharedAddress, data: ServerData | undefined): void {
    const { hand } = this.hooks;
    const waiting = this.waits.answered(key);
    const handle = this.tryToMake(key, address);
    if (typeof handle === 'number') {
      debug('%s cannot be shared: errno %d', key, -handle);
      // each fares as it would alone
      for (const worker of waiting) hand(worker, { sockets: [], own: key }, []);
      return;
    }
    debug('%s is opened for copies', key);
    remember(this.copies, key);
    this.giveAll(this.share(key, handle, handle, data), waiting);
  }

  private tryToMake(key: string, address: SharedAddress): SharableHandle | number {
    const { sharables, addon } = this.hooks;
    const kept = this.closings.kept(key);
    try {
      return kept === undefined ? makeShared(address, sharables) : wrapShared(address, kept, addon);
    } catch (error) {
      debug('%s', (error as Error).message);
      return -1;
    }
  }

  /** The app opens here what was made for copies, or what they have not let go of yet. */
  private adopt(key: string, handle: SharableHandle): boolean {
    const shared = this.open.get(key);
    if (shared) {
      // the app's own is open already: plain Node's answer is the right one
      if (shared.made !== shared.handle) return false;
      // the app has removed the path, as servers do before they listen: it leads nowhere any more
      if (!isThere(key, shared.file)) {
        this.closeMade(shared);
        return false;
      }
      if (!this.enter(handle, key, shared.handle.fd)) {
        this.closeMade(shared);
        return false;
      }
      shared.handle = handle;
      setServerData(this.hooks.sharables.coming(key), shared.data);
      this.copies.delete(key);
      interceptClose(handle, (native) => this.close(shared, native));
      this.judge(shared);
      return true;
    }
    const kept = this.closings.kept(key);
    return kept !== undefined && this.enter(handle, key, kept);
  }

  private enter(handle: SharableHandle, key: string, fd: number): boolean {
    const error = enterShared(handle, key, fd, this.hooks.addon);
    if (error < 0) debug('%s cannot be had again: errno %d', key, -error);
    return error === 0;
  }

  private close(shared: Shared, native: () => void): void {
    const { addon, sharables, workers, send } = this.hooks;
    const { key, generation } = shared;
    this.open.delete(key);
    closeShared(shared, native, {
      sharables,
      workers,
      dup: (fd) => addon.dup(fd),
      unshare: (worker) => send(worker, { kind: 'unshare', key, generation }),
      closings: this.closings,
    });
  }

  /** The open one of this name, unless a worker speaks of one that has gone. */
  private withGeneration({ key, generation }: Named): Shared | undefined {
    const shared = this.open.get(key);
    return shared?.generation === generation ? shared : undefined;
  }

  private used(index: number, named: Named): void {
    const shared = this.withGeneration(named);
    shared?.users.add(index);
    this.judge(shared);
  }

  /** What was made for copies goes with the last of them that has closed it. */
  private unused(index: number, named: Named): void {
    const shared = this.withGeneration(named);
    if (shared?.users.delete(index)) this.closeUnused(shared);
  }

  /** @param successorSince see Groups.ended() */
  workerLeft(worker: W, successorSince?: number): void {
    this.waits.workerLeft(worker);
    this.closings.workerLeft(worker.index, successorSince);
    for (const { mute } of this.open.values()) mute.delete(worker.index);
    if (successorSince === undefined) this.notStarted(worker.index);
  }

  /** It has disconnected, and closes what it has of all this (SharedBinds.disconnected). */
  channelLost(worker: W): void {
    for (const { holders, mute } of this.open.values()) if (holders.has(worker.index)) mute.add(worker.index);
    this.closings.channelLost(worker.index);
    this.notStarted(worker.index);
  }

  /** Worker `index` has nothing of what is open. */
  notStarted(index: number): void {
    for (const shared of this.open.values()) {
      shared.holders.delete(index);
      if (shared.users.delete(index) && isUnused(shared)) this.expire(shared);
    }
  }

  /** Its last user has ended without closing it: a successor may come for it, and for what has queued up there. */
  private expire(shared: Shared): void {
    setTimeout(() => {
      if (this.open.get(shared.key) === shared) this.closeUnused(shared);
    }, OWN_MS).unref();
  }

  private closeUnused(shared: Shared): void {
    if (isUnused(shared)) this.closeMade(shared);
  }

  private closeMade(shared: Shared): void {
    this.close(shared, () => shared.made?.close());
  }

  private name(shared: Shared): Handover['sockets'][number] {
    return handedOn(shared, this.hooks.sharables.server(shared.key));
  }
}
