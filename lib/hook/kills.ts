// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import { signalNumber } from './node';
import { replace } from './replace';
import { quietBinding } from './tcp';

export interface KillHooks {
  /** process.kill(pid, signal) is about to be called; not with signal 0. */
  signal(pid: number, signal: string | number): void;
  /** A program is about to be started, in whatever way of node:child_process. */
  program(words: readonly string[]): void;
}

/** As ChildProcess.prototype.spawn() and the binding below spawnSync() have it: args[0] is argv[0] (lib/child_process.js). */
interface Starting {
  file?: unknown;
  args?: unknown;
}
type Start = (this: unknown, options: Starting) => unknown;

/** Calls `hooks` before what the app does, each time; below the functions of node:child_process, which an ES module may hold. */
export function beforeKills(hooks: KillHooks): void {
  replace(
    process,
    'kill',
    (original) =>
      function (this: unknown, pid: number, signal?: string | number) {
        const named = signal ?? 'SIGTERM';
        if (signalNumber(named) !== 0) hooks.signal(Number(pid), named);
        return Reflect.apply(original, process, [pid, signal]) as true;
      },
  );
  const before = (original: Start): Start =>
    function (this: unknown, options) {
      hooks.program(wordsOf(options));
      return Reflect.apply(original, this, [options]);
    };
  const { ChildProcess } = require('node:child_process') as { ChildProcess: { prototype: { spawn: Start } } };
  replace(ChildProcess.prototype, 'spawn', before);
  try {
    replace(quietBinding<{ spawn: Start }>('spawn_sync'), 'spawn', before);
  } catch (error) {
    debug('programs that spawnSync() starts are not seen: %s', (error as Error).message);
  }
}

function wordsOf(options: Starting | undefined): string[] {
  const { file, args } = options ?? {};
  const words = Array.isArray(args) ? args.map(String) : [];
  return typeof file === 'string' ? [file, ...words.slice(1)] : words;
}
