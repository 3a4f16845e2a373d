// SPDX-License-Identifier: Apache-2.0

interface Waiting<W> {
  workers: Set<W>;
  timer: NodeJS.Timeout;
}

/** Workers that wait for a shared socket that is not there yet, by its name. */
export class SharedWaits<W> {
  private readonly waiting = new Map<string, Waiting<W>>();

  /** @param over is called when the first one has waited for so long, unless they have been answered */
  add(worker: W, key: string, ms: number, over: () => void): void {
    const waiting = this.waiting.get(key) ?? { workers: new Set(), timer: setTimeout(over, ms).unref() };
    this.waiting.set(key, waiting);
    waiting.workers.add(worker);
  }

  has(key: string): boolean {
    return this.waiting.has(key);
  }

  /** They are about to have an answer. */
  answered(key: string): Set<W> {
    const waiting = this.waiting.get(key);
    this.waiting.delete(key);
    clearTimeout(waiting?.timer);
    return waiting?.workers ?? new Set();
  }

  workerLeft(worker: W): void {
    for (const [key, { workers }] of [...this.waiting])
      if (workers.delete(worker) && workers.size === 0) this.answered(key);
  }
}
