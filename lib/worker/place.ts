// SPDX-License-Identifier: Apache-2.0
import { Connects, type ConnectsOptions } from '../connect/start';
import { debug } from '../log';
import type { ToWorker } from '../workers/messages';
import { EventLoop } from './pinning';

export interface PlaceOptions extends ConnectsOptions {
  /** The CPU that its event loop is to have; undefined: none of its own. */
  core: number | undefined;
  /** The event loop is pinned to this CPU now; undefined: to none any more. */
  pinned(core: number | undefined): void;
  /** There are to be so many workers. */
  counted(workers: number): void;
}

/** Where this worker runs: the CPU of its event loop, to which its own connections come home. */
export class Place {
  /** The CPU that it is pinned to. */
  core: number | undefined;
  private readonly loop: EventLoop;
  private readonly connects: Connects;
  private wanted: number | undefined;
  /** Where all else may run, where the origin has said so. */
  private free: readonly number[] | undefined;
  private tried = false;

  /** @param displaced see EventLoop */
  constructor(
    private readonly options: PlaceOptions,
    displaced: () => void,
  ) {
    this.wanted = options.core;
    this.loop = new EventLoop(options.addon, displaced);
    this.connects = new Connects(options);
  }

  /** Before the app's first line. */
  install(): void {
    this.connects.share();
  }

  /** It listens, and so it is a server. */
  take(): void {
    const { tried, wanted, free } = this;
    this.tried = true;
    if (!tried && wanted !== undefined && this.loop.move(wanted, free)) this.taken(wanted);
  }

  /** The origin has another CPU for it, or none. */
  change({ core, free, workers }: Extract<ToWorker, { kind: 'place' }>): void {
    this.options.counted(workers);
    this.wanted = core ?? undefined;
    this.free = free;
    if (!this.tried) return;
    this.taken(this.loop.move(this.wanted, free) ? this.wanted : undefined);
    debug('the event loop is on %s now', this.core === undefined ? 'no CPU of its own' : `CPU ${this.core}`);
  }

  private taken(core: number | undefined): void {
    this.core = core;
    this.connects.moveTo(core);
    this.options.pinned(core);
  }
}
