// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import type { Addon } from '../native/addon';
import { useSteering } from './destinations';
import { logDestinations } from './log';
import { ConnectSteering } from './steering';

const UNPINNED = -1;

/** This worker's connections take the ports of its share first. */
export function shareConnects(addon: Addon, ports: Uint8Array): void {
  // -ESRCH: ports are not chosen here
  if (addon.sharePorts(ports, UNPINNED) === 0) logDestinations(addon, false);
}

/** This thread is pinned to a CPU now: its connections are to come home to that. */
export function startSteering(
  addon: Addon,
  core: number,
  { connect }: Pick<Settings, 'connect'>,
  ports: Uint8Array,
): void {
  if (addon.sharePorts(ports, core) < 0) return;
  const steering = new ConnectSteering(addon, core, connect);
  useSteering(steering);
  steering.start();
}
