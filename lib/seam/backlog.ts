// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';

/** What net.js passes where the app has named none (lib/net.js, setupListenHandle: `backlog || 511`). */
const NODES_DEFAULT = 511;
/** listen(2): what is above net.core.somaxconn is cut to it without a word. */
const MOST = 65_535;

/**
 * The backlog of an app that has named one, else as much as the kernel allows: a burst waits instead of being dropped.
 * @param named what the app has said, as far as it is known: net.js passes 511 where that is nothing
 */
export function backlogFor(asked: number, named: unknown, { seam }: Pick<Settings, 'seam'>): number {
  return asked === NODES_DEFAULT && !named && seam.includes('backlog') ? MOST : asked;
}
