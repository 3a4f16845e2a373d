// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import { ConnectWatch, type TcpBinding } from '../hook/tcp';
import type { Addon } from '../native/addon';
import { useSteering } from './destinations';
import { logDestinations } from './log';
import { ConnectSteering, type SteeringOptions } from './steering';

const UNPINNED = -1;

/** This worker's connections take the ports of its share first. */
export function shareConnects(addon: Addon, ports: Uint8Array): void {
  // -ESRCH: ports are not chosen here
  if (addon.sharePorts(ports, UNPINNED) === 0) logDestinations(addon, false);
}

/** This thread is pinned to a CPU now: its connections are to come home to that. */
export function startSteering(
  options: Omit<SteeringOptions, 'setting' | 'watch'> & { tcp: TcpBinding; ports: Uint8Array },
  { connect }: Pick<Settings, 'connect'>,
): void {
  const { addon, core, tcp, ports } = options;
  if (addon.sharePorts(ports, core) < 0) return;
  const watch = new ConnectWatch(tcp);
  const steering = new ConnectSteering({
    addon,
    core,
    setting: connect,
    watch: (called) => watch.next(called),
  });
  useSteering(steering);
  steering.start();
}
