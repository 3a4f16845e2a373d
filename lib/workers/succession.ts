// SPDX-License-Identifier: Apache-2.0
import { MemoryKills } from '../cpu/memory-kills';
import { readText } from '../cpu/read';
import { debug, say } from '../log';
import type { ChangedUser } from '../origin/changed-user';
import { graceMs } from '../signals/told';
import { Barred } from './barred';
import type { Crew, Member } from './crew';
import { endOf } from './lifecycle';

export interface SuccessionOptions<M extends Member> {
  crew: Pick<Crew<M, never>, 'restart'>;
  user: ChangedUser;
  exitWaitMs: number;
}

/** Who follows a worker that has ended, and when. */
export class Succession<M extends Member> {
  private readonly barred: Barred;
  readonly memory = new MemoryKills(readText);

  constructor(private readonly options: SuccessionOptions<M>) {
    this.barred = new Barred(() => options.user.now, say);
  }

  serves({ index }: M): void {
    this.barred.served(index);
  }

  ended({ index }: M, code: number | null, signal: string | null): void {
    debug('worker %d ended (code %s, signal %s%s)', index, code, signal, this.memory.cause(signal));
  }

  /** It has ended, and another one is wanted. */
  follow(worker: M, code: number | null, signal: string | null): void {
    const { crew, exitWaitMs } = this.options;
    const { index, servedAt } = worker;
    const barredMs = servedAt === undefined ? this.barred.failed(index, endOf(code, signal)) : 0;
    // a worker that ends after SIGTERM ends as the app wants it; if the origin is still there much later, it does not
    const delay = crew.restart(index, Math.max(graceMs(worker, exitWaitMs), barredMs));
    debug('worker %d is started again in %d ms', index, delay);
  }

  /** No process came to be. */
  notStarted(index: number, error: Error): void {
    debug('worker %d could not be started: %s', index, error.message);
    this.options.crew.restart(index, this.barred.failed(index, `could not be started: ${error.message}`));
  }
}
