// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import { ConnectWatch, type TcpBinding } from '../hook/tcp';
import type { Addon } from '../native/addon';
import { useSteering } from './destinations';
import { logDestinations } from './log';
import { ConnectSteering } from './steering';

const UNPINNED = -1;

export interface ConnectsOptions {
  addon: Addon;
  tcp: TcpBinding;
  /** Source ports that this worker's connections take first. */
  ports: Uint8Array;
  settings: Pick<Settings, 'connect'>;
}

/** A worker's own connections: their source ports, and the CPU that their packets are to come to. */
export class Connects {
  private steering: ConnectSteering | undefined;

  constructor(private readonly options: ConnectsOptions) {}

  /** This worker's connections take the ports of its share first. */
  share(): void {
    const { addon, ports } = this.options;
    // -ESRCH: ports are not chosen here
    if (addon.sharePorts(ports, UNPINNED) === 0) logDestinations(addon, false);
  }

  /** This thread is pinned to a CPU now, to which its connections are to come home, or to none any more. */
  moveTo(core: number | undefined): void {
    const { addon, ports } = this.options;
    if (addon.sharePorts(ports, core ?? UNPINNED) < 0) return;
    if (this.steering) this.steering.moveTo(core);
    else if (core !== undefined) this.start(core);
  }

  private start(core: number): void {
    const { addon, tcp, settings } = this.options;
    const watch = new ConnectWatch(tcp);
    this.steering = new ConnectSteering({
      addon,
      core,
      setting: settings.connect,
      watch: (called) => watch.next(called),
    });
    useSteering(this.steering);
    this.steering.start();
  }
}
