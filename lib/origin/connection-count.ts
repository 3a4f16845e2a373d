// SPDX-License-Identifier: Apache-2.0

/** A worker that does not answer in this time (blocked, stopped) counts as none. */
const ANSWER_MS = 1_000;

interface Question {
  waiting: Set<number>;
  sum: number;
  timer: NodeJS.Timeout;
  callback(error: null, count: number): void;
}

/** getConnections() over a whole group: the origin's own connections and what each worker answers. */
export class ConnectionCount {
  private readonly questions = new Map<number, Question>();
  private lastId = 0;

  /**
   * @param own connections of the origin's own server
   * @param workers indexes of those that serve the group
   * @param ask sends the question with its id to one worker
   */
  ask(
    own: number,
    workers: readonly number[],
    ask: (index: number, id: number) => void,
    callback: (error: null, count: number) => void,
  ): void {
    const id = ++this.lastId;
    const timer = setTimeout(() => this.finish(id), ANSWER_MS);
    this.questions.set(id, { waiting: new Set(workers), sum: own, timer, callback });
    for (const index of workers) ask(index, id);
  }

  /** The same of a group; false where the origin's own count is all. `tell` asks one worker; false where it has ended. */
  askGroup(
    workers: ReadonlySet<number>,
    own: number,
    tell: (index: number, id: number) => boolean,
    callback: (error: null, count: number) => void,
  ): boolean {
    if (workers.size === 0) return false;
    const ask = (index: number, id: number) => {
      if (!tell(index, id)) this.answered(id, index, 0);
    };
    this.ask(own, [...workers], ask, callback);
    return true;
  }

  answered(id: number, index: number, count: number): void {
    const question = this.questions.get(id);
    if (!question?.waiting.delete(index)) return;
    question.sum += count;
    if (question.waiting.size === 0) this.finish(id);
  }

  workerLeft(index: number): void {
    for (const id of [...this.questions.keys()]) this.answered(id, index, 0);
  }

  private finish(id: number): void {
    const question = this.questions.get(id);
    if (!question) return;
    this.questions.delete(id);
    clearTimeout(question.timer);
    question.callback(null, question.sum);
  }
}
