// SPDX-License-Identifier: Apache-2.0
import { replace } from './replace';

/** cluster.worker in a worker, as far as its end is concerned (lib/internal/cluster/child.js, worker.js). */
interface OwnWorker {
  state: string;
  exitedAfterDisconnect: boolean | undefined;
  disconnect(): OwnWorker;
}

/** In these disconnect() does nothing (lib/internal/cluster/child.js, Worker.prototype.disconnect). */
const ENDING: ReadonlySet<string> = new Set(['disconnecting', 'destroying']);

/**
 * How long the primary's answer is waited for, which says that it knows that this worker ends as it should. The origin may be
 * at its own end, and wait for this process.
 */
const ANSWER_MS = 250;

/**
 * Lets `close` come before worker.disconnect() in this worker gives up its channel. Node closes what has come from its
 * primary then, and waits for the 'close' of each (lib/internal/cluster/child.js, _disconnect): here it knows of nothing.
 * @param close calls back when all has closed
 */
export function beforeDisconnect(close: (done: () => void) => void): void {
  const { Worker } = require('node:cluster') as unknown as { Worker: { prototype: OwnWorker } };
  replace(
    Worker.prototype,
    'disconnect',
    (original) =>
      function (this: OwnWorker) {
        const { state } = this;
        if (ENDING.has(state)) return Reflect.apply(original, this, []);
        this.state = 'disconnecting';
        this.exitedAfterDisconnect = true;
        close(() => {
          // kill() has been faster
          if (this.state !== 'disconnecting') return;
          this.state = state;
          // until the primary has answered
          process.channel?.ref();
          Reflect.apply(original, this, []);
          setTimeout(() => {
            if (process.connected) process.disconnect();
          }, ANSWER_MS).unref();
        });
        return this;
      },
  );
}
