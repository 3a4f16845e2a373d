// SPDX-License-Identifier: Apache-2.0
import type { Addon } from '../native/addon';
import { drain } from './drain';
import type { ListenerGroup } from './listener-group';
import { type Refusal, refusal } from './refusal';

/** A backlog for sockets that are bound only. */
const NOT_LISTENING = -1;
const IPV4 = 4;

/** Whether the kernel takes a program of this kind, before anything depends on it. */
export function tryProgram(addon: Addon, program: Uint8Array): Refusal | undefined {
  const socket = addon.bindShared(IPV4, '127.0.0.1', 0, 0);
  if (socket < 0) return refusal('no socket could be made', socket);
  const error = addon.attachProgram(socket, program);
  addon.close(socket);
  return error < 0 ? refusal('the kernel takes no steering program', error) : undefined;
}

/**
 * Sockets for the workers of a handle that listens already, and alone. Nothing comes to them: they are bound only. SO_REUSEPORT
 * may be set on a listener, too, whose connections do not hinder others on its port: they have SO_REUSEADDR from it
 * (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict).
 * @returns their descriptors, or why there are none
 */
export function makeLateSockets(addon: Addon, fd: number, workers: number): number[] | Refusal {
  const shared = addon.reusePort(fd);
  if (shared < 0) return refusal('SO_REUSEPORT was refused', shared);
  const made: number[] = [];
  while (made.length < workers) {
    const socket = addon.sibling(fd, NOT_LISTENING);
    if (socket < 0) {
      dropLateSockets(addon, fd, made);
      return refusal(`socket ${made.length + 1} of the listener group could not be made`, socket);
    }
    made.push(socket);
  }
  return made;
}

/** There will be no group: the port is the one listener's own again. */
export function dropLateSockets(addon: Addon, fd: number, made: readonly number[]): void {
  for (const socket of [...made].reverse()) addon.close(socket);
  addon.unsharePort(fd);
}

/**
 * From now on they are a group. The first one that listens makes it (net/core/sock_reuseport.c, reuseport_add_sock), and only
 * a group takes a program: what the kernel's hash gives that one until it has one is served like all that no worker serves.
 * @returns why not; what has come to the sockets is served here then, and they are for dropLateSockets()
 */
export function openLateSockets(
  addon: Addon,
  group: Pick<ListenerGroup, 'sockets' | 'handle' | 'backlog' | 'hasProgram' | 'add' | 'inContext'>,
  made: readonly number[],
  originOnly: Uint8Array,
): Refusal | undefined {
  const { handle, inContext } = group;
  for (const [i, socket] of made.entries()) {
    const listens = addon.listen(socket, group.backlog);
    const error = listens < 0 || i > 0 ? listens : addon.attachProgram(handle.fd, originOnly);
    if (error === 0) continue;
    for (const one of made.slice(0, i + 1)) drain(addon, handle, one, inContext);
    return refusal(`socket ${i + 1} of the listener group does not listen`, error);
  }
  group.sockets.push(handle.fd);
  group.hasProgram = true;
  group.add(made);
  return undefined;
}
