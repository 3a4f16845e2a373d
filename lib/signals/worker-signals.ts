// SPDX-License-Identifier: Apache-2.0
import { hookCredentials } from '../hook/credentials';
import { hookSelfKill } from '../hook/node';
import { hookSignalStart } from '../hook/signal-start';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { nameOf, RELAYED_NAMES, RELAYED_NUMBERS } from './relayed';

const SIGKILL = 9;

/**
 * A worker's half of the signals: what reaches it directly only goes to the origin, what the origin relays acts as if
 * the signal had come. libuv never starts a handle for these signals here, so the disposition is set once and stays.
 * @param inherited see CredentialHooks
 */
export function installWorkerSignals(
  addon: Addon,
  control: number,
  inherited: (call: string) => boolean,
): void {
  // no orphan is left when the origin goes, also when this loop is blocked; set*id clears it (prctl(2))
  const arm = () => addon.setParentDeathSignal(SIGKILL);
  arm();
  hookCredentials({ changed: arm, inherited });
  addon.reportSignals(control, [...RELAYED_NUMBERS]);
  if (!hookSignalStart(RELAYED_NAMES, () => {}))
    debug('startListeningIfSignal not found: signals may act twice');
  // process.kill(process.pid, sig): signal-exit and others end themselves that way
  hookSelfKill((signal) => {
    const name = nameOf(signal);
    if (name === undefined) return false;
    if (process.listenerCount(name) > 0) setImmediate(() => deliverSignal(addon, signal));
    else addon.die(signal);
    return true;
  });
}

/** The app's handlers run once, or the process ends by the signal's default. */
export function deliverSignal(addon: Addon, signal: number): void {
  const name = nameOf(signal);
  if (name === undefined) return;
  if (process.listenerCount(name) > 0) (process as NodeJS.EventEmitter).emit(name, name, signal);
  else addon.die(signal);
}
