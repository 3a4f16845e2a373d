// SPDX-License-Identifier: Apache-2.0

/**
 * A worker that listens where the origin does not: the origin may only be slower (a cold start, one more await), or be
 * listening again in a moment. After this time the port is the worker's own, until the origin asks for it.
 */
export const OWN_MS = 2_000;
/** The same when the app has settled: its processes come to open what all of them open at much the same time. */
export const SETTLED_OWN_MS = 200;
/** Others that came to wait before that worker had it wait this long for the origin, then find it taken. */
export const TAKEN_MS = 30_000;
/** How long a worker has to give back its own port to the origin. */
export const RECLAIM_MS = 5_000;

export interface LatePortHooks<W> {
  /** From now on this address is the worker's own. */
  grant(worker: W, key: string): void;
  /** Asks a worker to give an address back. */
  release(worker: W, key: string): void;
  /** The origin is not about to open or to change anything, as far as can be seen. */
  settled(): boolean;
}

interface Reclaim {
  timer: NodeJS.Timeout;
  /** Of each server of the origin's that wants it, the first one first. */
  done: (() => void)[];
}

/** Addresses that workers listen on, or want to, and the origin does not. */
export class LatePorts<W> {
  private readonly waiting = new Map<string, Set<W>>();
  private readonly owners = new Map<string, W>();
  /** Addresses that have been a worker's own and that the origin has not wanted since: passive ports of FTP, for one. */
  private readonly theirs = new Set<string>();
  /** Other names of addresses that are waited for: `::` is 0.0.0.0 on a host without IPv6. */
  private readonly aliases = new Map<string, Set<string>>();
  private readonly timers = new Map<string, NodeJS.Timeout>();
  private readonly reclaims = new Map<string, Reclaim>();

  constructor(private readonly hooks: LatePortHooks<W>) {}

  /**
   * A worker waits for the origin to open this address; where another worker has it, it is taken.
   * @param aliases other names under which the origin may open it
   */
  wait(worker: W, key: string, aliases: readonly string[] = []): void {
    for (const alias of aliases) this.aliases.set(alias, (this.aliases.get(alias) ?? new Set()).add(key));
    if (this.owners.has(key)) return this.hooks.grant(worker, key);
    const waiting = this.waiting.get(key) ?? new Set();
    this.waiting.set(key, waiting.add(worker));
    this.schedule(key, this.ownMs(key));
  }

  private ownMs(key: string): number {
    if (this.theirs.has(key)) return 0;
    return this.hooks.settled() ? SETTLED_OWN_MS : OWN_MS;
  }

  private schedule(key: string, ms: number): void {
    if (this.timers.has(key) || !this.waiting.get(key)?.size) return;
    const timer = setTimeout(() => {
      this.timers.delete(key);
      if (this.owners.has(key)) this.grantRest(key);
      else this.grantFirst(key);
    }, ms);
    this.timers.set(key, timer.unref());
  }

  /** A worker has taken an address that nobody else has. */
  owns(worker: W, key: string): void {
    if (!this.owners.has(key)) this.owners.set(key, worker);
  }

  private grantFirst(key: string): void {
    const waiting = this.waiting.get(key);
    const [first] = waiting ?? [];
    if (first === undefined) return;
    waiting?.delete(first);
    const theirs = this.theirs.has(key);
    this.owners.set(key, first);
    this.theirs.add(key);
    this.hooks.grant(first, key);
    this.schedule(key, theirs ? OWN_MS : TAKEN_MS);
  }

  private grantRest(key: string): void {
    for (const worker of this.waiting.get(key) ?? []) this.hooks.grant(worker, key);
    this.waiting.delete(key);
  }

  isOwned(key: string): boolean {
    return this.owners.has(key);
  }

  /**
   * The origin listens there now: who waits is served by the group.
   * @returns who has waited
   */
  opened(key: string): W[] {
    const waited: W[] = [];
    for (const name of [key, ...(this.aliases.get(key) ?? [])]) {
      this.theirs.delete(name);
      waited.push(...(this.waiting.get(name) ?? []));
      clearTimeout(this.timers.get(name));
      this.timers.delete(name);
      this.waiting.delete(name);
    }
    this.aliases.delete(key);
    return waited;
  }

  /** The origin wants an address that a worker has: `done` is called when it has been given back, or after RECLAIM_MS. */
  reclaim(key: string, done: () => void): void {
    const owner = this.owners.get(key);
    this.theirs.delete(key);
    if (owner === undefined) return done();
    const reclaim = this.reclaims.get(key);
    if (reclaim) {
      reclaim.done.push(done);
      return;
    }
    const timer = setTimeout(() => this.released(owner, key), RECLAIM_MS);
    this.reclaims.set(key, { done: [done], timer });
    this.hooks.release(owner, key);
  }

  /** The owner has given it back, has closed it, could not have it, or has ended. */
  released(worker: W, key: string): void {
    if (this.owners.get(key) !== worker) return;
    this.owners.delete(key);
    const reclaim = this.reclaims.get(key);
    this.reclaims.delete(key);
    clearTimeout(reclaim?.timer);
    if (reclaim) {
      for (const done of reclaim.done) done();
      return;
    }
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
    this.schedule(key, this.ownMs(key));
  }

  workerLeft(worker: W): void {
    for (const waiting of this.waiting.values()) waiting.delete(worker);
    for (const [key, owner] of [...this.owners]) if (owner === worker) this.released(worker, key);
  }
}
