// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';

/** Port probes and dev servers listen, close and listen again: nothing is forked for a listener younger than this. */
export const SETTLED_MS = 100;
/** An app that had loaded node:cluster before its first listen() gets this long to fork workers of its own. */
export const FORK_GRACE_MS = 1_000;
/** A copy that listens where the original does not: how long the original may take to do the same. */
export const ELSEWHERE_MS = 2_000;
/** An app that has been told of a signal and is still there after this long goes on. */
export const AFTER_SIGNAL_MS = 1_000;
/** How long a copy that may have connections has for its end. */
export const LEAVE_MS = 1_000;
/** A copy that has come to listen may fail a moment later: at the lock of a database that the original has open. */
export const LASTS_MS = 250;
/** So many workers in a row that have ended by themselves within this time, while no other one lasts, show the same. */
export const SOON_MS = 1_000;
export const SOON_ENDED = 3;
/** When one has served this long, copies work. */
const PROVEN_MS = 10_000;
const CANARY_MIN_MS = 10_000;
const CANARY_STARTS = 5;

export interface GroupView {
  readonly key: string;
  readonly openedAt: number;
  readonly ready: ReadonlySet<number>;
}

export interface LifecycleHooks {
  groups(): Iterable<GroupView>;
  start(index: number): void;
  /** Ends the canary, closes what was made for workers: from here on the app is plain Node. */
  giveUp(reason: string): void;
  /** The canary has reached all of the origin's listens: the others follow and the origin stands by. */
  multiply(): void;
  /** The app turned out to be one that must not be multiplied when it was already: the workers drain and go. */
  withdraw(reason: string): void;
  /** No listener is left: the canary has nothing to prove. */
  endCanary(): void;
  /** The app has forked cluster workers of its own. */
  appForks(): boolean;
  /** What the canary has said to a cluster primary that nobody heard. */
  unheard(): string | undefined;
}

export interface LifecycleOptions {
  hooks: LifecycleHooks;
  /** From the start of the process to its first listen(), in ms: a copy may take five times as long, ten seconds at least. */
  originStartMs: number;
  clusterLoaded: boolean;
  now?: () => number;
}

export const CANARY = 1;

/** How a worker that has served has ended. */
export interface ServedEnd {
  code: number | null;
  signal: string | null;
  /** When it came to serve, by performance.now(). */
  servedAt: number;
  /** Nobody has told it to, and no signal has ended it but one of its own making. */
  byItself: boolean;
  /** Others have served for SOON_MS, and live. */
  othersLast: boolean;
}

/** Decides whether and when the app is multiplied: one copy first, the others when that one has shown that copies work. */
export class Lifecycle {
  state: 'idle' | 'canary' | 'full' | 'off' = 'idle';
  private timer: NodeJS.Timeout | undefined;
  private deadline: NodeJS.Timeout | undefined;
  /** The canary listens, and is to last. */
  private lasting: NodeJS.Timeout | undefined;
  private overdue = false;
  private soonEnded = 0;
  private countedAt = Number.NEGATIVE_INFINITY;
  private proven = false;
  private readonly now: () => number;

  constructor(private readonly options: LifecycleOptions) {
    this.now = options.now ?? (() => performance.now());
  }

  groupOpened(): void {
    if (this.state === 'idle') this.wait();
  }

  groupClosed(): void {
    if (this.state !== 'canary') return;
    if ([...this.options.hooks.groups()].length > 0) return this.workerReady();
    this.stopCanary();
    this.options.hooks.endCanary();
  }

  private wait(): void {
    if (this.timer) return;
    const grace = this.options.clusterLoaded ? FORK_GRACE_MS : SETTLED_MS;
    let oldest = Number.POSITIVE_INFINITY;
    for (const group of this.options.hooks.groups()) oldest = Math.min(oldest, group.openedAt);
    if (oldest === Number.POSITIVE_INFINITY) return;
    const due = Math.max(0, oldest + grace - this.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.state !== 'idle') return;
      let settled = false;
      for (const group of this.options.hooks.groups()) settled ||= this.now() - group.openedAt >= grace;
      if (settled) this.startCanary();
      else this.wait();
    }, due);
    this.timer.unref();
  }

  /** How long a copy may take to listen on everything. */
  private get patience(): number {
    return Math.max(CANARY_MIN_MS, CANARY_STARTS * this.options.originStartMs);
  }

  private startCanary(): void {
    const { hooks } = this.options;
    if (hooks.appForks()) return this.fail('the app forks cluster workers of its own');
    this.state = 'canary';
    this.overdue = false;
    this.deadline = setTimeout(() => {
      this.overdue = true;
      if (!this.lasting) this.tooLate();
    }, this.patience);
    this.deadline.unref();
    debug('a first copy is started');
    hooks.start(CANARY);
  }

  /** A worker has become ready somewhere. */
  workerReady(): void {
    if (this.lasting || !this.canaryServes()) return;
    this.lasting = setTimeout(() => {
      this.lasting = undefined;
      if (this.canaryServes()) this.multiply();
      else if (this.overdue) this.tooLate();
    }, LASTS_MS);
    this.lasting.unref();
  }

  private canaryServes(): boolean {
    const groups = [...this.options.hooks.groups()];
    return this.state === 'canary' && groups.length > 0 && groups.every(({ ready }) => ready.has(CANARY));
  }

  private multiply(): void {
    if (this.options.hooks.appForks()) return this.fail('the app forks cluster workers of its own');
    this.state = 'full';
    clearTimeout(this.deadline);
    this.options.hooks.multiply();
  }

  private tooLate(): void {
    const ms = Math.round(this.patience);
    this.failAfter(`the copy did not listen on everything the original listens on within ${ms} ms`);
  }

  /** A worker that has served has ended. Returns true when that has ended multiplying. */
  workerExited({ code, signal, servedAt, byItself, othersLast }: ServedEnd): boolean {
    const now = this.now();
    this.proven ||= now - servedAt >= PROVEN_MS;
    if (this.proven || this.state !== 'full' || !byItself) return false;
    const soon = now - servedAt < SOON_MS && !othersLast;
    // those that were there when the last one ended have met what that one has met: a server that was away for a moment
    if (soon && servedAt <= this.countedAt) return false;
    this.countedAt = now;
    this.soonEnded = soon ? this.soonEnded + 1 : 0;
    if (this.soonEnded < SOON_ENDED) return false;
    this.failAfter(`the copy ${endOf(code, signal)} soon after it had come to listen, ${SOON_ENDED} times`);
    return true;
  }

  /** The copy could not be started, or has ended itself, and says why. Returns false where there is no canary. */
  copyFailed(reason: string): boolean {
    if (this.state !== 'canary') return false;
    this.fail(`the copy ${reason}`);
    return true;
  }

  /** The origin has no group for an address of its own. Returns false where the workers serve the others already. */
  groupFailed(reason: string): boolean {
    if (this.state !== 'full') this.fail(reason);
    return this.state !== 'full';
  }

  /** The canary has ended. Returns true when that has ended multiplying. */
  canaryExited(code: number | null, signal: string | null): boolean {
    if (this.state !== 'canary') return false;
    const when = this.lasting
      ? 'soon after it had come to listen'
      : 'before it listened on everything the original listens on';
    this.failAfter(`the copy ${endOf(code, signal)} ${when}`);
    return true;
  }

  /** A copy asks a cluster primary, of which there is none: what it waits for will not come. */
  clusterRequest(act: string): void {
    if (this.state === 'canary')
      this.fail(`the copy sent a cluster request (${act}) that has no primary to answer it`);
    else debug('a cluster request (%s) is refused: there is no primary', act);
  }

  /** A copy that has spoken to nobody may have waited for the answer. */
  private failAfter(reason: string): void {
    const word = this.options.hooks.unheard();
    const why =
      word === undefined ? '' : `; what it said by process.send() (${word}) the original does not listen for`;
    this.fail(`${reason}${why}`);
  }

  /**
   * The canary has ended after a signal that it was told of: it did as it was told, or had no handler yet. That says
   * nothing about copies; where the app goes on, another one follows. Returns false where there is no canary.
   */
  canaryObeyed(): boolean {
    if (this.state !== 'canary') return false;
    this.stopCanary();
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.wait();
    }, AFTER_SIGNAL_MS);
    this.timer.unref();
    return true;
  }

  private stopCanary(): void {
    this.state = 'idle';
    clearTimeout(this.deadline);
    clearTimeout(this.lasting);
    this.lasting = undefined;
  }

  /** The canary wants an address that the origin has no group for; `known` is asked again when the time is over. */
  canaryElsewhere(key: string, known: () => boolean): void {
    setTimeout(() => {
      if (this.state !== 'canary' || known()) return;
      this.fail(`the copy listens on ${describeKey(key)}, the original does not`);
    }, ELSEWHERE_MS).unref();
  }

  /** Ends multiplying. Workers that serve already are not killed, they drain. */
  fail(reason: string): void {
    const { state } = this;
    if (state === 'off') return;
    this.state = 'off';
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    clearTimeout(this.lasting);
    if (state === 'full') this.options.hooks.withdraw(reason);
    else this.options.hooks.giveUp(reason);
  }
}

/** How a process has ended, in words. */
export function endOf(code: number | null, signal: string | null): string {
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
}

/** `4|0.0.0.0|8080` -> `0.0.0.0:8080` */
export function describeKey(key: string): string {
  const [family, address, port] = key.split('|');
  return family === '4' ? `${address}:${port}` : `[${address}]:${port}`;
}
