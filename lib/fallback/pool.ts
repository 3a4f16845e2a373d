// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import { Crew, type CrewEvents, type Member } from '../workers/crew';
import { launch } from '../workers/launch';
import { COMMAND } from '../workers/messages';
import type { ToOrigin, ToWorker } from './messages';

export type FallbackWorker = Member;

export interface FallbackPoolOptions {
  birth: Birth;
  markName: string;
  mark(index: number): string;
  /** Words before node. */
  prefix(index: number): string[];
  events: CrewEvents<FallbackWorker, ToOrigin>;
}

/** Worker processes that are spoken to over their IPC channel alone. Knows nothing of addresses. */
export class FallbackPool extends Crew<FallbackWorker, ToOrigin> {
  constructor(private readonly options: FallbackPoolOptions) {
    super(options.events);
  }

  start(index: number): void {
    const { birth, markName, mark, prefix } = this.options;
    this.cancel(index);
    try {
      const words = prefix(index);
      const child = launch({
        birth,
        index,
        controlFd: undefined,
        mark: mark(index),
        markName,
        ...(words.length > 0 ? { prefix: words } : {}),
      });
      this.supervise({ index, process: child });
    } catch (error) {
      this.startFailed(index, error as Error);
    }
  }

  protected left(): void {}

  /** Sends a message, with a listening handle beside it or without. */
  send({ process: child }: FallbackWorker, body: ToWorker, handle?: TcpHandle): void {
    if (child.connected) child.send({ cmd: COMMAND, body } as never, handle as never, {}, () => {});
  }

  protected askToExit(worker: FallbackWorker): void {
    this.send(worker, { kind: 'exit', code: 0 });
  }

  /** A handler of the app there reports it, which is passed over. */
  protected strike({ process: { pid } }: FallbackWorker, signal: number): void {
    try {
      if (pid !== undefined) process.kill(pid, signal);
    } catch (error) {
      debug('a worker is told of a signal only: %s', (error as Error).message);
    }
  }
}
