// SPDX-License-Identifier: Apache-2.0
// Handles on sockets that several processes have.
import type { BindArguments } from '../group/key';
import { isAbstract, pathOfKey, type SharedAddress, sharedKey } from '../group/shared-address';
import { newPipe, type PipeServer } from './pipes';
import type { SharableHandle, Sharables } from './sharables';
import { quietBinding } from './tcp';
import type { UdpBinding, UdpHandle } from './udp';

/**
 * Binds for copies what the app has not bound here; or a negative errno. The handle receives nothing, and does not
 * listen: libuv would accept. The copies do.
 */
export function makeShared(address: SharedAddress, sharables: Sharables): SharableHandle | number {
  if (address.kind === 'path') sharables.hookPipes();
  sharables.making = true;
  try {
    return address.kind === 'udp' ? makeDatagram(address.bind) : makePipe(address.path, address.mode);
  } finally {
    sharables.making = false;
  }
}

function newDatagram(): UdpHandle {
  const { UDP } = quietBinding<UdpBinding>('udp_wrap');
  return new UDP();
}

/** What is needed of the addon to give a handle a socket that is there already. */
export interface Descriptors {
  dup(fd: number): number;
  close(fd: number): number;
  occupy(fd: number, from: number): number;
}

/** A new handle on a duplicate of this socket, or a negative errno. */
export function wrapShared(
  address: SharedAddress,
  fd: number,
  descriptors: Descriptors,
): SharableHandle | number {
  const handle = address.kind === 'udp' ? newDatagram() : newPipe();
  const error = enterShared(handle, sharedKey(address), fd, descriptors);
  if (error === 0) return handle;
  handle.close();
  return error;
}

/** Gives a fresh handle a duplicate of this socket. Returns 0 or a negative errno. */
export function enterShared(
  handle: SharableHandle,
  key: string,
  fd: number,
  descriptors: Descriptors,
): number {
  if (pathOfKey(key) === undefined) return enterDatagram(handle as UdpHandle, key, fd, descriptors);
  const copy = descriptors.dup(fd);
  if (copy < 0) return copy;
  const error = handle.open(copy) ?? 0;
  if (error !== 0) descriptors.close(copy);
  return error;
}

/**
 * open() would set SO_REUSEADDR on the socket, so that strangers could bind its port, and would not know its family
 * (libuv, src/unix/udp.c, uv_udp_open, uv__udp_bind): the handle is bound to some port, and its socket exchanged.
 */
function enterDatagram(handle: UdpHandle, key: string, fd: number, { occupy }: Descriptors): number {
  const error = bindAnywhere(handle, key.startsWith('udp6') ? 6 : 4);
  return error || Math.min(0, occupy(handle.fd, fd));
}

function bindAnywhere(handle: UdpHandle, family: 4 | 6): number {
  return family === 6 ? handle.bind6('::', 0, 0) : handle.bind('0.0.0.0', 0, 0);
}

/** sun_path has 108 bytes (unix(7)): cluster's primary does the same (lib/internal/cluster/primary.js, queryServer). */
function shortest(path: string): string {
  if (isAbstract(path)) return path;
  const { relative } = require('node:path') as typeof import('node:path');
  const other = relative(process.cwd(), path);
  return other.length < path.length ? other : path;
}

function makePipe(path: string, mode: number): PipeServer | number {
  const handle = newPipe();
  const error = handle.bind(shortest(path)) || (mode === 0 ? 0 : handle.fchmod(mode));
  if (error === 0) return handle;
  handle.close();
  return error;
}

function makeDatagram({ family, address, port, flags }: BindArguments): UdpHandle | number {
  const handle = newDatagram();
  const error = family === 6 ? handle.bind6(address, port, flags) : handle.bind(address, port, flags);
  if (error === 0) return handle;
  handle.close();
  return error;
}

/**
 * Gives a handle another socket, on a port of its own, instead of the shared one, which it may have no longer: it can
 * still send, and close. Returns 0 or a negative errno.
 */
export function leaveShared(handle: UdpHandle, family: 4 | 6, { occupy }: Descriptors): number {
  const other = newDatagram();
  const error = bindAnywhere(other, family) || Math.min(0, occupy(handle.fd, other.fd));
  other.close();
  return error;
}
