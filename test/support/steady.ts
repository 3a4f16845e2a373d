// SPDX-License-Identifier: Apache-2.0
import type { TestContext } from 'node:test';
import { type Kind, type Where, whoAnswers } from './clients';

export interface Answers {
  /** How often each process answered. */
  by: Map<number, number>;
  /** What went wrong: refused, reset, no answer. */
  failed: string[];
}

/** Clients that ask all the time, each on a new connection as soon as it has its answer. */
export class Steady {
  private readonly answers: Answers = { by: new Map(), failed: [] };
  private readonly clients: Promise<void>[];
  private going = true;

  constructor(kind: Kind, where: Where, clients = 2) {
    this.clients = Array.from({ length: clients }, () => this.client(kind, where));
  }

  private async client(kind: Kind, where: Where): Promise<void> {
    const { by, failed } = this.answers;
    while (this.going) {
      try {
        const pid = await whoAnswers(kind, where);
        by.set(pid, (by.get(pid) ?? 0) + 1);
      } catch (error) {
        failed.push((error as Error).message);
      }
    }
  }

  /** Who has answered so far. */
  get by(): ReadonlyMap<number, number> {
    return this.answers.by;
  }

  async stop(): Promise<Answers> {
    this.going = false;
    await Promise.all(this.clients);
    return this.answers;
  }
}

/** Such clients, until the test stops them or ends. */
export function steady(t: TestContext, kind: Kind, where: Where, clients?: number): Steady {
  const load = new Steady(kind, where, clients);
  t.after(() => load.stop());
  return load;
}
