// SPDX-License-Identifier: Apache-2.0
import type { Destination } from '../index';
import type { Addon, DestinationState } from '../native/addon';
import type { ConnectSteering, Mode } from './steering';

const ANY = /^(0\.0\.0\.0|::)$/;

let steering: ConnectSteering | undefined;

/** What the destinations' modes are told by, from now on. */
export function useSteering(current: ConnectSteering): void {
  steering = current;
}

const UNSTEERED: Mode = { mode: 'any', why: 'this thread is not pinned to a CPU' };

export function describe(state: DestinationState, { mode, why }: Mode): Destination {
  const { address, port, localAddress, taken, resting, chosen, kernels, misses, looked, local } = state;
  return {
    address,
    port,
    localAddress: ANY.test(localAddress) ? undefined : localAddress,
    inUse: taken,
    resting,
    chosen,
    byKernel: kernels,
    retries: misses,
    local: looked === 0 ? undefined : local / looked,
    mode,
    why,
  };
}

export function listDestinations(addon: Addon): Destination[] {
  return addon.destinations().map((state) => describe(state, steering?.modeOf(state) ?? UNSTEERED));
}

/** One line for the debug log. */
export function destinationLine(destination: Destination): string {
  const { address, port, localAddress, inUse, resting, chosen, byKernel, retries, local, mode, why } =
    destination;
  const to = address.includes(':') ? `[${address}]` : address;
  const parts = [
    `${inUse} ports in use`,
    `${resting} resting`,
    `${chosen} chosen`,
    `${byKernel} by the kernel`,
    `${retries} retries`,
  ];
  if (local !== undefined) parts.push(`${(100 * local).toFixed(1)} % local`);
  parts.push(`${mode} (${why})`);
  return `connect to ${to}:${port}${localAddress ? ` from ${localAddress}` : ''}: ${parts.join(', ')}`;
}
