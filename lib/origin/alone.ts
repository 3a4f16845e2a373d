// SPDX-License-Identifier: Apache-2.0
import { debug, say } from '../log';
import { describeKey } from '../workers/lifecycle';
import type { Handover } from '../workers/messages';
import type { Attempts } from './attempts';
import type { LatePorts } from './late-ports';

export interface AloneHooks<W> {
  attempts: Attempts;
  late: LatePorts<W>;
  workers(): W[];
  hand(worker: W, handover: Handover): void;
}

/**
 * Addresses that the origin serves while workers serve the others: there are no sockets for them (no descriptors are left,
 * for one). In the workers a listen() there succeeds, and nothing comes: by themselves they would find the address taken,
 * and an app that does not expect that ends, each worker and each successor.
 */
export class Alone<W> {
  private said = false;

  constructor(private readonly hooks: AloneHooks<W>) {}

  /** @param reason why there are no sockets */
  add(key: string, reason: string): void {
    const { attempts, late, workers, hand } = this.hooks;
    attempts.servedAlone(key);
    const waiting = new Set(late.opened(key));
    // whoever does not want it yet may ask whether it is taken
    for (const worker of workers())
      hand(worker, waiting.has(worker) ? { sockets: [], own: key, past: true } : { sockets: [] });
    const line = `${describeKey(key)} is served by one process: ${reason}`;
    if (this.said) return debug('%s', line);
    this.said = true;
    say(line);
  }
}
