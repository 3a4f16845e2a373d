// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import type { Addon } from '../native/addon';

/** ESRCH: its loop does not go through the seam; why, has been said. */
const NO_SEAM = -3;

/** Takes part in the balancing, where the origin has a place for this worker. */
export function takeSeat(
  addon: Addon,
  index: number,
  seat: [page: number, offers: number, wake: number] | undefined,
): void {
  if (!seat) return;
  const error = addon.balanceJoin(index, ...seat);
  if (error === 0) return;
  const why = error === NO_SEAM ? 'it is without the seam' : `it cannot take its seat (errno ${-error})`;
  debug('no other worker helps this one, nor this one others: %s', why);
}
