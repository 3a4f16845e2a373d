// SPDX-License-Identifier: Apache-2.0
import type { Addon } from '../native/addon';
import type { ListenerGroup } from './listener-group';

/** A backlog for sockets that are bound only. */
const NOT_LISTENING = -1;
const IPV4 = 4;

/** Whether the kernel takes a program of this kind, before anything depends on it: 0 or a negative errno. */
function tryProgram(addon: Addon, program: Uint8Array): number {
  const socket = addon.bindShared(IPV4, '127.0.0.1', 0, 0);
  if (socket < 0) return socket;
  const error = addon.attachProgram(socket, program);
  addon.close(socket);
  return error;
}

/**
 * Sockets for the workers of a handle that listens already, and alone. Nothing comes to them: they are bound only. SO_REUSEPORT
 * may be set on a listener, too, whose connections do not hinder others on its port: they have SO_REUSEADDR from it
 * (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict).
 * @returns their descriptors, or why there are none
 */
export function makeLateSockets(
  addon: Addon,
  fd: number,
  workers: number,
  originOnly: Uint8Array,
): number[] | string {
  const refused = tryProgram(addon, originOnly);
  if (refused < 0) return `the kernel takes no steering program (errno ${-refused})`;
  const shared = addon.reusePort(fd);
  if (shared < 0) return `SO_REUSEPORT was refused (errno ${-shared})`;
  const made: number[] = [];
  while (made.length < workers) {
    const socket = addon.sibling(fd, NOT_LISTENING);
    if (socket < 0) {
      for (const one of made) addon.close(one);
      return `socket ${made.length + 1} of the listener group could not be made (errno ${-socket})`;
    }
    made.push(socket);
  }
  return made;
}

/**
 * From now on they are a group. The first one that listens makes it (net/core/sock_reuseport.c, reuseport_add_sock), and only
 * a group takes a program: what the kernel's hash gives that one until it has one is served like all that no worker serves.
 * @returns why not; the sockets are closed then
 */
export function openLateSockets(
  addon: Addon,
  group: Pick<ListenerGroup, 'sockets' | 'handle' | 'backlog' | 'hasProgram' | 'add'>,
  made: readonly number[],
  originOnly: Uint8Array,
): string | undefined {
  const { fd } = group.handle;
  for (const [i, socket] of made.entries()) {
    const listens = addon.listen(socket, group.backlog);
    const error = listens < 0 || i > 0 ? listens : addon.attachProgram(fd, originOnly);
    if (error === 0) continue;
    for (const one of [...made].reverse()) addon.close(one);
    return `socket ${i + 1} of the listener group does not listen (errno ${-error})`;
  }
  group.sockets.push(fd);
  group.hasProgram = true;
  group.add(made);
  return undefined;
}
