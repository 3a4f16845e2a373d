// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';
import { debug } from '../log';
import type { GroupView } from '../workers/lifecycle';
import type { Handover } from '../workers/messages';
import type { Worker } from '../workers/pool';
import type { Attempts } from './attempts';
import { LatePorts } from './late-ports';
import { Started } from './started';

export interface AskHooks {
  attempts: Attempts;
  group(key: string): ListenerGroup | undefined;
  groups(): Iterable<GroupView>;
  /** The canary has not proved itself yet. */
  canary(): boolean;
  /** It wants an address that the origin has no group for. */
  elsewhere(key: string, known: () => boolean): void;
  give(worker: Worker, group: ListenerGroup): void;
  hand(worker: Worker, handover: Handover): void;
  release(worker: Worker, key: string): void;
  /** See LatePortHooks. */
  settled(): boolean;
}

/** Answers the listen() calls of workers for which they have no socket. */
export class Asks {
  readonly late: LatePorts<Worker>;
  readonly started: Started;

  constructor(private readonly hooks: AskHooks) {
    this.started = new Started(hooks);
    this.late = new LatePorts({
      grant: (worker, key) => {
        debug('worker %d listens on %s alone', worker.index, key);
        hooks.hand(worker, { sockets: [], own: key });
      },
      release: (worker, key) => hooks.release(worker, key),
      settled: () => hooks.settled(),
    });
  }

  /** @param keys the names that the address may have, best first */
  asked(worker: Worker, keys: string[]): void {
    const { attempts, group, canary, elsewhere, give, hand } = this.hooks;
    const open = keys.map(group).find((found) => found !== undefined);
    if (open) return give(worker, open);
    const [first, ...aliases] = keys;
    if (first === undefined) return;
    const serves = this.started.judge(worker);
    let known = false;
    let failed = false;
    for (const key of keys) {
      const answer = attempts.answer(key, serves);
      if (!answer) continue;
      known = true;
      failed ||= answer.error !== undefined;
      hand(worker, { sockets: [], own: key, ...answer });
    }
    if (!known) this.late.wait(worker, first, aliases);
    if (!canary() || failed) return;
    elsewhere(first, () => keys.some((key) => group(key) !== undefined || attempts.wasClosedInCopy(key)));
  }
}
