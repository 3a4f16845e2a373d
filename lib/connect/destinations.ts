// SPDX-License-Identifier: Apache-2.0
import type { Destination } from '../index';
import type { Addon, DestinationState } from '../native/addon';

const ANY = /^(0\.0\.0\.0|::)$/;

export function describe(state: DestinationState): Destination {
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
  };
}

export function listDestinations(addon: Addon): Destination[] {
  return addon.destinations().map(describe);
}

/** One line for the debug log. */
export function destinationLine(destination: Destination): string {
  const { address, port, localAddress, inUse, resting, chosen, byKernel, retries, local } = destination;
  const to = address.includes(':') ? `[${address}]` : address;
  const parts = [
    `${inUse} ports in use`,
    `${resting} resting`,
    `${chosen} chosen`,
    `${byKernel} by the kernel`,
    `${retries} retries`,
  ];
  if (local !== undefined) parts.push(`${(100 * local).toFixed(1)} % local`);
  return `connect to ${to}:${port}${localAddress ? ` from ${localAddress}` : ''}: ${parts.join(', ')}`;
}
