// SPDX-License-Identifier: Apache-2.0
// A worker process in steps of a millisecond: an accept queue, an event loop with one thing at a time, open connections.
import { poisson } from './random';
import type { Kind } from './scenarios';

/** As the backlog of Node's listen(). */
const BACKLOG = 511;
const NS_PER_MS = 1e6;

export class SimulatedWorker {
  /** Kinds of the connections that wait in the kernel, the oldest first. */
  readonly queue: number[] = [];
  accepted = 0;
  open = 0;
  idle = 0;
  refused = 0;
  /** Since its accept loop has run. */
  unmovedMs = 0;
  /** Accepted, and its request not begun yet; the rest of the one under way is in `leftMs`. */
  private readonly accepting: number[] = [];
  private current: number | undefined;
  private leftMs = 0;
  private blockedMs = 0;
  private readonly held: number[];

  constructor(private readonly kinds: readonly Kind[]) {
    this.held = kinds.map(() => 0);
  }

  arrive(kind: number): void {
    if (this.queue.length >= BACKLOG) this.refused++;
    else this.queue.push(kind);
  }

  block(ms: number): void {
    this.blockedMs += ms;
  }

  /** Nothing to do at this moment. */
  get free(): boolean {
    return this.blockedMs <= 0 && this.current === undefined && this.accepting.length === 0;
  }

  accept(kind: number): void {
    this.accepted++;
    this.open++;
    this.accepting.push(kind);
  }

  /** One millisecond, of which `part` is this worker's. */
  tick(part: number): void {
    this.unmovedMs = this.queue.length > 0 ? this.unmovedMs + 1 : 0;
    if (this.blockedMs > 0) {
      this.blockedMs -= 1;
      return;
    }
    let budget = part;
    while (budget > 0) {
      if (this.current === undefined && !this.next()) break;
      const spent = Math.min(budget, this.leftMs);
      budget -= spent;
      this.leftMs -= spent;
      if (this.leftMs <= 1e-9) this.finish();
    }
    this.idle += budget * NS_PER_MS;
  }

  /** Between two requests the loop accepts what waits. */
  private next(): boolean {
    if (this.queue.length > 0) {
      for (const kind of this.queue.splice(0)) this.accept(kind);
      this.unmovedMs = 0;
    }
    this.current = this.accepting.shift();
    if (this.current === undefined) return false;
    this.leftMs = (this.kinds[this.current] as Kind).serviceMs;
    return true;
  }

  private finish(): void {
    const kind = this.current as number;
    this.current = undefined;
    if ((this.kinds[kind] as Kind).holdS > 0) this.held[kind] = (this.held[kind] as number) + 1;
    else this.open--;
  }

  /** Ends what ends within `ms`: exponential lives have no memory, so their number is enough. */
  age(ms: number, random: () => number): void {
    this.kinds.forEach(({ holdS }, kind) => {
      const held = this.held[kind] as number;
      if (held > 0 && holdS < Infinity) this.end(kind, poisson(random, (held * ms) / (holdS * 1_000)));
    });
  }

  /** Closes this part of its held connections. */
  close(part: number): void {
    this.held.forEach((held, kind) => this.end(kind, Math.round(held * part)));
  }

  private end(kind: number, count: number): void {
    const ended = Math.min(this.held[kind] as number, count);
    this.held[kind] = (this.held[kind] as number) - ended;
    this.open -= ended;
  }
}
