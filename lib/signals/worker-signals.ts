// SPDX-License-Identifier: Apache-2.0
import { hookCredentials } from '../hook/credentials';
import { hookSelfKill } from '../hook/node';
import { hookSignalStart } from '../hook/signal-start';
import { debug, debugOnce } from '../log';
import type { Addon } from '../native/addon';
import { isHandled } from './handled';
import { nameOf, RELAYED, RELAYED_NAMES, RELAYED_NUMBERS } from './relayed';

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
  const arm = () => {
    const error = addon.setParentDeathSignal(SIGKILL);
    if (error < 0)
      debugOnce("this process may outlive the origin's: prctl(PR_SET_PDEATHSIG) fails (errno %d)", -error);
  };
  arm();
  hookCredentials({ changed: arm, inherited });
  followHandlers(addon);
  // after that: where another preload has listened before us its handles are closed there, and libuv leaves the default
  // behind (src/unix/signal.c, uv__signal_unregister_handler)
  const unreported = addon.reportSignals(control, [...RELAYED_NUMBERS]);
  if (unreported < 0)
    debug('a signal to this process alone ends it alone: sigaction fails (errno %d)', -unreported);
  // process.kill(process.pid, sig): signal-exit and others end themselves that way
  hookSelfKill((signal) => {
    const name = nameOf(signal);
    if (name === undefined) return false;
    if (isHandled(name)) setImmediate(() => deliverSignal(addon, signal));
    else addon.die(signal);
    return true;
  });
}

/** The addon is to know which signals the app has handlers of, also while the loop is blocked. */
function followHandlers(addon: Addon): void {
  const found = hookSignalStart(RELAYED_NAMES, (name) => addon.handlesSignal(RELAYED.get(name) as number, 1));
  process.on('removeListener', (name) => {
    const number = RELAYED.get(String(name));
    if (found && number !== undefined) addon.handlesSignal(number, isHandled(String(name)) ? 1 : 0);
  });
  if (found) return;
  debug('startListeningIfSignal not found: signals may act twice');
  for (const number of RELAYED_NUMBERS) addon.handlesSignal(number, 1);
}

/** The app's handlers run once, or the process ends by the signal's default. */
export function deliverSignal(addon: Addon, signal: number): void {
  const name = nameOf(signal);
  if (name === undefined) return;
  if (isHandled(name)) (process as NodeJS.EventEmitter).emit(name, name, signal);
  else addon.die(signal);
}
