// SPDX-License-Identifier: Apache-2.0
import { debug, debugging } from '../log';
import type { Addon, DestinationState } from '../native/addon';

const EVERY_MS = 10_000;

function share({ looked, local }: DestinationState): string {
  return looked === 0 ? '' : `, ${((100 * local) / looked).toFixed(1)} % of ${looked} local`;
}

/** One line about where connections go to. */
export function describeDestination(state: DestinationState): string {
  const { address, port, localAddress, taken, resting, chosen, kernels, misses } = state;
  const from = /^(0\.0\.0\.0|::)$/.test(localAddress) ? '' : `from ${localAddress} `;
  const to = address.includes(':') ? `[${address}]` : address;
  return (
    `connect ${from}to ${to}:${port}: ${taken} ports in use, ${resting} rest, ${chosen} chosen here, ` +
    `${kernels} by the kernel, ${misses} were taken${share(state)}`
  );
}

/** Says in the debug log now and then, and at the end, where connections go to. */
export function logDestinations(addon: Addon): void {
  if (!debugging()) return;
  const said = new Map<string, string>();
  const say = () => {
    for (const state of addon.destinations()) {
      const key = `${state.localAddress} ${state.address} ${state.port}`;
      const line = describeDestination(state);
      if (said.get(key) !== line) debug('%s', line);
      said.set(key, line);
    }
  };
  try {
    setInterval(say, EVERY_MS).unref();
    process.on('exit', say);
  } catch {
    // the app's clock, not Node's
  }
}
