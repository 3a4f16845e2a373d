// SPDX-License-Identifier: Apache-2.0
import { serverData } from '../hook/server-data';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Attempts } from '../origin/attempts';
import { OWN_MS } from '../origin/late-ports';
import { Started } from '../origin/started';
import type { GroupView } from '../workers/lifecycle';
import type { FallbackGroup } from './group';
import type { ToWorker } from './messages';
import type { FallbackWorker } from './pool';

export interface Question {
  worker: FallbackWorker;
  id: number;
  /** The names that the address may have, best first. */
  keys: string[];
}

export interface QuestionHooks {
  attempts: Attempts;
  group(key: string): FallbackGroup | undefined;
  groups(): Iterable<GroupView>;
  /** The canary has not proved itself yet. */
  canary(): boolean;
  /** It wants an address that the origin has no group for. */
  elsewhere(key: string, known: () => boolean): void;
  send(worker: FallbackWorker, message: ToWorker, handle?: TcpHandle): void;
}

/** Answers the workers' listen() calls. */
export class Questions {
  readonly started: Started;
  /** They wait for a listen() of the origin. */
  private readonly waiting = new Set<Question>();

  constructor(private readonly hooks: QuestionHooks) {
    this.started = new Started(hooks);
  }

  ask(question: Question): void {
    if (this.lend(question)) return;
    const { attempts, canary, elsewhere, group, send } = this.hooks;
    const { worker, id, keys } = question;
    const serves = this.started.judge(worker);
    const history = keys.map((key) => ({ key, ...attempts.answer(key, serves) }));
    const past = history.find((entry) => entry.past)?.key;
    // what failed in the origin is left to fail here
    const failed = history.some(({ error }) => error !== undefined);
    if (past !== undefined) send(worker, { kind: 'answer', id, past });
    else if (failed) return this.leaveAlone(question);
    else this.wait(question);
    if (!canary()) return;
    elsewhere(keys[0] as string, () =>
      keys.some((key) => group(key) !== undefined || attempts.wasClosedInCopy(key)),
    );
  }

  groupOpened(): void {
    for (const question of [...this.waiting]) if (this.lend(question)) this.waiting.delete(question);
  }

  /** The origin may be slower, or be listening again in a moment; the address is the worker's own after that. */
  private wait(question: Question): void {
    this.waiting.add(question);
    setTimeout(() => {
      if (!this.hooks.canary() && this.waiting.delete(question)) this.leaveAlone(question);
    }, OWN_MS).unref();
  }

  canaryServes(): void {
    for (const question of [...this.waiting]) this.wait(question);
  }

  workerLeft(worker: FallbackWorker): void {
    for (const question of [...this.waiting]) if (question.worker === worker) this.waiting.delete(question);
  }

  private lend({ worker, id, keys }: Question): boolean {
    const group = keys.map((key) => this.hooks.group(key)).find((found) => found !== undefined);
    if (!group) return false;
    const { key, generation, server } = group;
    const data = serverData(server);
    const answer = { kind: 'answer', id, key, generation, ...(data === undefined ? {} : { data }) } as const;
    this.hooks.send(worker, answer, group.lend(worker.index));
    return true;
  }

  private leaveAlone({ worker, id, keys }: Question): void {
    debug('worker %d listens on %s alone', worker.index, keys[0]);
    this.hooks.send(worker, { kind: 'answer', id });
  }
}
