// SPDX-License-Identifier: Apache-2.0
import type { Named, Shared } from './shared';

/** A timer that has nothing to do. */
const ALIVE_MS = 60_000;
/** A worker without a channel ends with its last connection; where something else keeps it, it is waited for this long. */
export const MUTE_MS = 10_000;

/** Shared sockets that have closed in the origin, until the workers have let go of them and their connections have ended. */
export class SharedClosings {
  private readonly closing = new Set<Shared>();
  private alive: NodeJS.Timeout | undefined;

  constructor(private readonly closeDescriptor: (fd: number) => unknown) {}

  /** `holders`, `serving` and `mute` say who is waited for. */
  begin(shared: Shared): void {
    this.closing.add(shared);
    shared.closesSince = performance.now();
    // the workers' connections keep the origin alive, as its own would
    if (shared.serving.size > 0) this.alive ??= setInterval(() => {}, ALIVE_MS);
    for (const index of shared.mute) this.doNotWaitLong(shared, index);
    this.advance(shared);
  }

  has(key: string): boolean {
    return [...this.closing].some((closing) => closing.key === key);
  }

  /** The descriptor under which a socket of this name can still be had. */
  kept(key: string): number | undefined {
    return [...this.closing].find((closing) => closing.key === key && closing.kept >= 0)?.kept;
  }

  /** Worker `index` has no descriptor any more. */
  unshared(index: number, named: Named): void {
    this.of(named, ({ holders }) => holders.delete(index));
  }

  /** Its last connection has ended. */
  served(index: number, named: Named): void {
    this.of(named, ({ serving }) => serving.delete(index));
  }

  private of({ key, generation }: Named, act: (shared: Shared) => void): void {
    for (const closing of [...this.closing]) {
      if (closing.key !== key || closing.generation !== generation) continue;
      act(closing);
      this.advance(closing);
    }
  }

  /** @param successorSince see Groups.ended(): what was open then is that one's, which says when it has let go */
  workerLeft(index: number, successorSince = Number.POSITIVE_INFINITY): void {
    for (const closing of [...this.closing]) {
      if (closing.closesSince >= successorSince) continue;
      closing.holders.delete(index);
      closing.serving.delete(index);
      this.advance(closing);
    }
  }

  /** It lets go of all that is shared, and has no way to say so. */
  channelLost(index: number): void {
    for (const closing of [...this.closing]) {
      closing.holders.delete(index);
      if (closing.serving.has(index)) this.doNotWaitLong(closing, index);
      this.advance(closing);
    }
  }

  private doNotWaitLong(closing: Shared, index: number): void {
    setTimeout(() => {
      closing.serving.delete(index);
      this.advance(closing);
    }, MUTE_MS).unref();
  }

  private advance(closing: Shared): void {
    const { holders, serving, kept, letClose } = closing;
    if (holders.size === 0 && kept >= 0) {
      this.closeDescriptor(kept);
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
}
