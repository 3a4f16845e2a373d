// SPDX-License-Identifier: Apache-2.0
import type { Addon } from '../native/addon';
import type { ListenerGroup } from './listener-group';
import { type Refusal, refusal } from './refusal';

/** A backlog for sockets that are bound only. */
const NOT_LISTENING = -1;

/**
 * Sockets for so many more workers of a group, all or none. Nobody selects them yet: with a program they listen, as the
 * last ones of the kernel's group (net/core/sock_reuseport.c, reuseport_add_sock), and no program names them; without one
 * they are bound, and their worker is the one that listens.
 * @returns their descriptors, or why there are none
 */
export function makeSiblings(
  addon: Addon,
  { sockets, hasProgram, backlog }: Pick<ListenerGroup, 'sockets' | 'hasProgram' | 'backlog'>,
  count: number,
): number[] | Refusal {
  const made: number[] = [];
  while (made.length < count) {
    const socket = addon.sibling(sockets[0] as number, hasProgram ? backlog : NOT_LISTENING);
    if (socket < 0) {
      // the last first: the others keep their places in the kernel's group
      for (const fd of made.reverse()) addon.close(fd);
      const index = sockets.length + made.length;
      return refusal(`socket ${index} of the listener group could not be made`, socket);
    }
    made.push(socket);
  }
  return made;
}
