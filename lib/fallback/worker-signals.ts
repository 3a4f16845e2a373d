// SPDX-License-Identifier: Apache-2.0
import { hookSelfKill } from '../hook/node';
import { hookSignalStart, withProcessEmit } from '../hook/signal-start';
import { debug } from '../log';
import { isHandled } from '../signals/handled';
import { nameOf, RELAYED, RELAYED_NAMES } from '../signals/relayed';

/**
 * A worker's half of the signals without the addon: as long as the app has a handler, what reaches this process
 * directly only goes to the origin, and what the origin relays runs the handlers. Without a handler the kernel's default
 * stays, also in a loop that is blocked.
 * @param report tells the origin; false where there is no way to it any more
 */
export function installFallbackSignals(report: (signal: number) => boolean): void {
  const hooked = hookSignalStart(RELAYED_NAMES, (name, node) => {
    withProcessEmit(
      (original, args) =>
        report(RELAYED.get(name) as number) || Reflect.apply(original, process, args as never[]),
      () => node(name),
    );
  });
  if (!hooked) debug('startListeningIfSignal not found: signals may act twice');
  // process.kill(process.pid, sig): signal-exit and others end themselves that way
  hookSelfKill((signal) => {
    const name = nameOf(signal);
    if (name === undefined || !isHandled(name)) return false;
    setImmediate(() => deliverSignal(signal));
    return true;
  });
}

/** The app's handlers run once, or the process ends by the signal's default. */
export function deliverSignal(signal: number): void {
  const name = nameOf(signal);
  if (name === undefined) return;
  debug('%s by way of the origin', name);
  if (isHandled(name)) (process as NodeJS.EventEmitter).emit(name, name, signal);
  else process.kill(process.pid, signal);
}
