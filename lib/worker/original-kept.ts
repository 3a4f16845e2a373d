// SPDX-License-Identifier: Apache-2.0
import { beforeKills } from '../hook/kills';
import { killingWords } from './kill-words';

export interface Keeping {
  /** The process that the app was started in. */
  origin: number;
  /** The copy has come to listen: what it ends from now on it has its reasons for. */
  listens(): boolean;
  /** Tells the origin why this is no copy. */
  unable(reason: string): void;
}

const SIGKILL = 'SIGKILL';

/**
 * Apps that make room for themselves before they listen: they end whoever is in their pid file, or has their port. In a
 * copy that is the original. The copy ends instead, without its 'exit' handlers, which would remove the original's pid file.
 */
export function keepOriginal({ origin, listens, unable }: Keeping): void {
  const { kill } = process;
  const end = (how: string) => {
    unable(`would have ended the original: ${how}`);
    Reflect.apply(kill, process, [process.pid, SIGKILL]);
  };
  beforeKills({
    signal: (pid, signal) => {
      if (Math.abs(pid) === origin && !listens()) end(`process.kill(${pid}, ${signal})`);
    },
    program: (words) => {
      if (listens()) return;
      const line = killingWords(words, origin);
      if (line !== undefined) end(line);
    },
  });
}
