// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';

const LOOK_MS = 50;
/** Handshakes that were under way when a socket lost its worker end within seconds; after that the queue stays empty. */
const EMPTY_LOOKS = 100;

/** While a replacement waits, the origin serves what stands in the queues of sockets that have no worker. */
export class UnservedQueues {
  private timer: NodeJS.Timeout | undefined;
  private empty = 0;

  constructor(private readonly groups: () => Iterable<ListenerGroup>) {}

  /** Something has changed: looks now, and goes on looking while there may be more. */
  look(): void {
    this.empty = 0;
    this.round();
  }

  private round(): void {
    this.timer = undefined;
    let missing = false;
    let accepted = 0;
    for (const group of this.groups()) {
      if (group.ready.size === group.sockets.length - 1) continue;
      missing = true;
      accepted += group.drainUnserved();
    }
    this.empty = accepted > 0 ? 0 : this.empty + 1;
    if (!missing || this.empty > EMPTY_LOOKS || this.timer) return;
    this.timer = setTimeout(() => this.round(), LOOK_MS).unref();
  }
}
