// SPDX-License-Identifier: Apache-2.0
import { isAbstract, isThere, pathOfKey, type SharedAddress, sharedKey } from '../group/shared-address';
import { holdClose } from '../hook/held-close';
import { interceptClose } from '../hook/node';
import type { SharableHandle, Sharables } from '../hook/sharables';
import { type Descriptors, enterShared, hookPipes, makeShared } from '../hook/shared-handles';
import { debug } from '../log';
import type { Handover, ToOrigin, ToWorker } from '../workers/messages';
import { OWN_MS } from './late-ports';

/** A timer that has nothing to do. */
const ALIVE_MS = 60_000;

export interface SharedHooks<W> {
  addon: Descriptors;
  sharables: Sharables;
  workers(): W[];
  /** Gives a worker descriptors, or an answer, and tells it to look. */
  hand(worker: W, handover: Handover, fds: number[]): void;
  send(worker: W, message: ToWorker): void;
}

interface Shared {
  readonly key: string;
  readonly generation: number;
  /** The app's own; or what has been made for copies, as long as the app has none here. */
  handle: SharableHandle;
  made: SharableHandle | undefined;
  /** Workers, by index, that have a descriptor, and those whose app has something open on it. */
  readonly holders: Set<number>;
  readonly users: Set<number>;
  /** While it closes: a duplicate, for the app that opens it again before all workers have let go. -1: none is needed. */
  kept: number;
  /** While it closes: workers that may have connections, and what lets the app see its server's end without them. */
  readonly serving: Set<number>;
  letClose: (() => void) | undefined;
}

type Named = Pick<Shared, 'key' | 'generation'>;

interface Waiting<W> {
  workers: Set<W>;
  timer: NodeJS.Timeout;
}

type SharedMessage = Extract<ToOrigin, { kind: 'share' | 'used' | 'unused' | 'unshared' | 'served' }>;

/** What was made for copies, and none of them has open. */
const isUnused = ({ made, handle, users }: Shared): boolean =>
  made !== undefined && made === handle && users.size === 0;

/**
 * Servers on paths and UDP sockets: the origin's are the workers', too, as duplicates. Every process accepts or receives
 * for itself, the origin as well, so nothing is lost with a worker. What only copies open is made here for them, as
 * cluster's primary does (lib/internal/cluster/shared_handle.js).
 */
export class SharedSockets<W extends { readonly index: number }> {
  private readonly open = new Map<string, Shared>();
  private readonly closing = new Set<Shared>();
  private readonly waiting = new Map<string, Waiting<W>>();
  private generation = 0;
  private alive: NodeJS.Timeout | undefined;

  constructor(private readonly hooks: SharedHooks<W>) {
    hooks.sharables.opened = (key) => this.opened(key);
    hooks.sharables.adopt = (key, handle) => this.adopt(key, handle);
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
      sockets.push({ key, generation: shared.generation });
    }
    return { fds, sockets };
  }

  message(worker: W, message: SharedMessage): void {
    switch (message.kind) {
      case 'share':
        return this.asked(worker, message.address);
      case 'used':
        this.withGeneration(message)?.users.add(worker.index);
        return;
      case 'unused':
        return this.unused(worker.index, message);
      case 'unshared':
        return this.whileClosing(message, ({ holders }) => holders.delete(worker.index));
      case 'served':
        return this.whileClosing(message, ({ serving }) => serving.delete(worker.index));
    }
  }

  private asked(worker: W, address: SharedAddress): void {
    const key = sharedKey(address);
    const shared = this.find(key);
    if (shared && isThere(key)) return this.give(worker, shared);
    if (shared) {
      debug('%s has been removed: worker %d binds it alone', key, worker.index);
      return this.hooks.hand(worker, { sockets: [], own: key }, []);
    }
    let waiting = this.waiting.get(key);
    if (!waiting) {
      waiting = { workers: new Set(), timer: setTimeout(() => this.make(key, address), OWN_MS).unref() };
      this.waiting.set(key, waiting);
    }
    waiting.workers.add(worker);
  }

  private find(key: string): Shared | undefined {
    const known = this.open.get(key);
    if (known) return known;
    const handle = this.hooks.sharables.find(key);
    return handle && this.share(key, handle, undefined);
  }

  private share(key: string, handle: SharableHandle, made: SharableHandle | undefined): Shared {
    const shared: Shared = {
      key,
      generation: ++this.generation,
      handle,
      made,
      holders: new Set(),
      users: new Set(),
      kept: -1,
      serving: new Set(),
      letClose: undefined,
    };
    this.open.set(key, shared);
    if (!made) interceptClose(handle, (native) => this.close(shared, native));
    return shared;
  }

  private give(worker: W, { key, generation, handle, holders }: Shared): void {
    holders.add(worker.index);
    this.hooks.hand(worker, { sockets: [{ key, generation }] }, [handle.fd]);
  }

  /** The app may have opened it here. */
  private opened(key: string): void {
    const waiting = this.waiting.get(key)?.workers;
    if (!waiting && pathOfKey(key) === undefined) return;
    const shared = this.find(key);
    if (shared) this.giveAll(shared, this.answered(key));
  }

  /** Those that wait have it, and all know of a path: they do not remove it then. */
  private giveAll(shared: Shared, waiting: Set<W>): void {
    for (const worker of waiting) this.give(worker, shared);
    if (pathOfKey(shared.key) === undefined) return;
    for (const worker of this.hooks.workers())
      if (!shared.holders.has(worker.index)) this.give(worker, shared);
  }

  private answered(key: string): Set<W> {
    const waiting = this.waiting.get(key);
    this.waiting.delete(key);
    clearTimeout(waiting?.timer);
    return waiting?.workers ?? new Set();
  }

  /** The app has not opened it here: its copies have it. */
  private make(key: string, address: SharedAddress): void {
    const { sharables, hand } = this.hooks;
    const waiting = this.answered(key);
    const handle = this.tryToMake(address);
    if (typeof handle === 'number') {
      debug('%s cannot be shared: errno %d', key, -handle);
      // each fares as it would alone
      for (const worker of waiting) hand(worker, { sockets: [], own: key }, []);
      return;
    }
    if (address.kind === 'path') hookPipes(sharables);
    debug('%s is opened for copies', key);
    this.giveAll(this.share(key, handle, handle), waiting);
  }

  private tryToMake(address: SharedAddress): SharableHandle | number {
    try {
      return makeShared(address, this.hooks.sharables);
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
      if (!isThere(key)) {
        this.closeMade(shared);
        return false;
      }
      if (!this.enter(handle, key, shared.handle.fd)) return false;
      shared.handle = handle;
      interceptClose(handle, (native) => this.close(shared, native));
      return true;
    }
    for (const closing of this.closing)
      if (closing.key === key && closing.kept >= 0) return this.enter(handle, key, closing.kept);
    return false;
  }

  private enter(handle: SharableHandle, key: string, fd: number): boolean {
    const error = enterShared(handle, key, fd, this.hooks.addon);
    if (error < 0) debug('%s cannot be had again: errno %d', key, -error);
    return error === 0;
  }

  /** Closed here, it is closed everywhere: after close() no connection and no datagram comes. */
  private close(shared: Shared, native: () => void): void {
    const { addon, sharables, workers, send } = this.hooks;
    const { key, generation, handle, made, holders, serving } = shared;
    this.open.delete(key);
    const live = workers().filter(({ index }) => holders.has(index));
    holders.clear();
    for (const { index } of live) holders.add(index);
    const server = made === handle ? undefined : sharables.server(key);
    if (holders.size > 0) shared.letClose = holdClose(server);
    const path = pathOfKey(key);
    // a path is free as soon as libuv has removed it (src/unix/pipe.c, uv__pipe_close); other addresses are not
    if (holders.size > 0 && (path === undefined || isAbstract(path))) shared.kept = addon.dup(handle.fd);
    if (path !== undefined && shared.kept >= 0) hookPipes(sharables);
    native();
    if (made && made !== handle) made.close();
    if (holders.size === 0) return;
    debug('%s closes', key);
    this.closing.add(shared);
    // the workers' connections keep the origin alive, as its own would
    if (server) this.alive ??= setInterval(() => {}, ALIVE_MS);
    for (const worker of live) {
      if (server) serving.add(worker.index);
      send(worker, { kind: 'unshare', key, generation });
    }
    this.advance(shared);
  }

  /** The open one of this name, unless a worker speaks of one that has gone. */
  private withGeneration({ key, generation }: Named): Shared | undefined {
    const shared = this.open.get(key);
    return shared?.generation === generation ? shared : undefined;
  }

  /** What was made for copies goes with the last of them that has closed it. */
  private unused(index: number, named: Named): void {
    const shared = this.withGeneration(named);
    if (shared?.users.delete(index)) this.closeUnused(shared);
  }

  private whileClosing({ key, generation }: Named, act: (shared: Shared) => void): void {
    for (const closing of [...this.closing]) {
      if (closing.key !== key || closing.generation !== generation) continue;
      act(closing);
      this.advance(closing);
    }
  }

  private advance(closing: Shared): void {
    const { holders, serving, kept, letClose } = closing;
    if (holders.size === 0 && kept >= 0) {
      this.hooks.addon.close(kept);
      closing.kept = -1;
    }
    if (serving.size === 0) {
      closing.letClose = undefined;
      letClose?.();
    }
    if (holders.size === 0 && serving.size === 0) this.closing.delete(closing);
    if (this.closing.size > 0) return;
    clearInterval(this.alive);
    this.alive = undefined;
  }

  /** @param replaced another worker has its index already, and what is open */
  workerLeft(worker: W, replaced: boolean): void {
    for (const [key, { workers }] of [...this.waiting])
      if (workers.delete(worker) && workers.size === 0) this.answered(key);
    for (const closing of [...this.closing]) {
      closing.holders.delete(worker.index);
      closing.serving.delete(worker.index);
      this.advance(closing);
    }
    if (!replaced) this.notStarted(worker.index);
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
}
