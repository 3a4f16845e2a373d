// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import type { Addon } from '../native/addon';

/** Takes part in the balancing, where the origin has a place for this worker. */
export function takeSeat(
  addon: Addon,
  index: number,
  seat: [page: number, offers: number, wake: number] | undefined,
): void {
  if (!seat) return;
  const error = addon.balanceJoin(index, ...seat);
  // ESRCH: its loop does not go through the seam
  if (error < 0) debug('no other worker helps this one, nor this one others (errno %d)', -error);
}
