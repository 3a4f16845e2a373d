// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';

/** A connection in such a queue waits this long at most. */
const LOOK_MS = 20;
/** With a program, handshakes that were under way when a socket lost its worker end within seconds; then it stays empty. */
const PATIENCE_MS = 5_000;

/** Siblings have them within milliseconds, unless all of them are blocked. */
const SIBLINGS_MS = 200;

/** While a replacement waits, the origin serves what stands in the queues of sockets that have no worker. */
export class UnservedQueues {
  private timer: NodeJS.Timeout | undefined;
  private lastSeen = 0;
  private lastChange = 0;

  constructor(
    private readonly groups: () => Iterable<ListenerGroup>,
    private readonly siblingsServe: (group: ListenerGroup) => boolean,
    /** Since when nobody is to be worker `index`, and nothing is steered to its socket. */
    private readonly vacantSince: (index: number) => number | undefined,
  ) {}

  /** Something has changed: looks now, and goes on looking while there may be more. */
  look(): void {
    this.lastSeen = this.lastChange = performance.now();
    this.round();
  }

  /** A worker of the group that there is to be does not serve, or one that there is not to be did so a moment ago. */
  private isMissing({ ready, workerSockets }: ListenerGroup): boolean {
    const now = performance.now();
    for (let index = 1; index <= workerSockets; index++) {
      const since = this.vacantSince(index);
      if (!ready.has(index) && (since === undefined || now - since < PATIENCE_MS)) return true;
    }
    return false;
  }

  private round(): void {
    let missing = false;
    let departing = false;
    let accepted = 0;
    const early = performance.now() - this.lastChange < SIBLINGS_MS;
    for (const group of this.groups()) {
      missing ||= group.hasProgram && this.isMissing(group);
      if (!early || !this.siblingsServe(group)) accepted += group.drainUnserved();
      group.advance();
      departing ||= group.departing;
    }
    const now = performance.now();
    if (accepted > 0) this.lastSeen = now;
    if (this.timer || !(departing || (missing && now - this.lastSeen < PATIENCE_MS))) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.round();
    }, LOOK_MS).unref();
  }
}
