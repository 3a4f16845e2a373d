// SPDX-License-Identifier: Apache-2.0
// Part of the preload.
import { isLoopbackAddress } from '../group/key';
import { isAnyAddress } from '../group/reach';

/** Where to, and how often that was refused. */
export type EarlyConnect = [address: string, port: number, times: number];

/** An app asks about a port or two. */
const MOST = 64;

/**
 * Connections of the app's own that were refused while it started. One that asks whether its port is taken (serve,
 * browser-sync) connects to it before it listens: where that was refused in the origin its copies are refused as often,
 * though the origin listens by then.
 */
export class EarlyConnects {
  private readonly refused = new Map<string, EarlyConnect>();

  add(address: string, port: number): void {
    const name = `${address}|${port}`;
    const known = this.refused.get(name);
    if (known) known[2]++;
    else if (this.refused.size < MOST) this.refused.set(name, [address, port, 1]);
  }

  /**
   * Those to this machine: another one has its own reasons.
   * @param ownAddresses asked where there are others than those of loopback
   */
  toItself(ownAddresses: () => ReadonlySet<string>): EarlyConnect[] {
    let own: ReadonlySet<string> | undefined;
    return [...this.refused.values()].filter(([address]) => {
      if (isLoopbackAddress(address) || isAnyAddress(address)) return true;
      own ??= ownAddresses();
      return own.has(address);
    });
  }
}
