// SPDX-License-Identifier: Apache-2.0
import { parseCpuList } from '../config/cpulist';
import type { Limits } from '../cpu/cgroup';
import { MemoryKills } from '../cpu/memory-kills';
import { memoryUse } from '../cpu/memory-use';
import { readText } from '../cpu/read';
import type { Refusal } from '../group/refusal';
import { captureContext } from '../hook/context';
import { interceptClose } from '../hook/node';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { Fit } from './fit';
import type { Listening } from './late-groups';
import { Room } from './room';

/** Between two looks while connections come, which the app's own event loop has to make here. */
const EVERY_MS = 1_000;

/** An app with room for one worker, at its first listen(). */
export interface FirstListen {
  addon: Addon;
  originRssBytes: number | undefined;
  originStartMs: number;
  /** Its size now. */
  rssBytes(): number | undefined;
  limits(): Limits | undefined;
  room(mask: readonly number[], limits: Limits): number;
}

/** Whether there can ever be room for more: a machine with one CPU is left alone. */
export function mayHaveMore(): boolean {
  return (parseCpuList((readText('/sys/devices/system/cpu/online') ?? '').trim())?.length ?? 1) > 1;
}

export interface LaterHooks {
  /** Makes so many workers of the app, which listens with these. Returns why not. */
  multiply(listening: ReadonlyMap<TcpHandle, Listening>, workers: number): Refusal | undefined;
  closed(key: string): void;
}

/**
 * An app that was started with room for one worker, and runs as plain Node. While connections come it looks whether there is
 * room for more; nothing wakes up for that.
 */
export class Later {
  private readonly listening = new Map<TcpHandle, Listening>();
  private readonly room: Room;
  private lookedAt = performance.now();
  private done = false;
  private memoryBytes: number | undefined;

  constructor(
    private readonly first: FirstListen,
    private readonly hooks: LaterHooks,
  ) {
    const fit = new Fit({
      kills: new MemoryKills(readText),
      use: () => memoryUse(process.pid, [], readText),
      // an app that serves weighs more, and so will its copies
      sizeBytes: () => Math.max(first.originRssBytes ?? 0, first.rssBytes() ?? 0),
    });
    this.room = new Room({
      count: () => 1,
      settled: () => !this.done && this.listening.size > 0,
      most: () => fit.more(this.memoryBytes),
      grow: (by) => this.multiply(1 + by),
      lookAgain: () => this.look(),
    });
  }

  /** A server listens as in plain Node. */
  add(handle: TcpHandle, listening: Omit<Listening, 'inContext'>): void {
    const inContext = captureContext();
    this.listening.set(handle, { ...listening, inContext });
    interceptClose(handle, (close) => {
      this.listening.delete(handle);
      this.hooks.closed(listening.key);
      close();
    });
    const inner = handle.onconnection;
    const later = this;
    handle.onconnection = function onconnection(this: TcpHandle, status, client) {
      // what comes is the app's in any case, and first
      const result = Reflect.apply(inner, this, [status, client]);
      if (later.done) handle.onconnection = inner;
      else if (performance.now() - later.lookedAt >= EVERY_MS) inContext(() => later.look());
      return result;
    };
  }

  /** The app stays as it is, for good. */
  end(reason: string): void {
    if (this.done) return;
    this.done = true;
    debug('one process for good: %s', reason);
  }

  private look(): void {
    if (this.done) return;
    this.lookedAt = performance.now();
    try {
      this.see();
    } catch (error) {
      this.end(`to look for more room fails: ${error}`);
    }
  }

  private see(): void {
    const { first } = this;
    const mask = first.addon.getAffinity(0);
    const limits = first.limits();
    if (typeof mask === 'number' || !limits) return;
    this.memoryBytes = limits.memoryBytes;
    this.room.look(first.room(mask, limits));
  }

  private multiply(workers: number): Refusal | undefined {
    const refused = this.hooks.multiply(this.listening, workers);
    if (!refused) this.done = true;
    else if (refused.lasts) this.end(refused.why);
    return refused;
  }
}
