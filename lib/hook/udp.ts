// SPDX-License-Identifier: Apache-2.0
// Below dgram.js: the UDP handle. Part of the preload.
import type { BindArguments } from '../group/key';
import { debug } from '../log';
import { replace } from './replace';
import { quietBinding } from './tcp';

/** The part of udp_wrap's UDP handle that we use (src/udp_wrap.cc). */
export interface UdpHandle {
  fd: number;
  bind(address: string, port: number, flags?: number): number;
  bind6(address: string, port: number, flags?: number): number;
  open(fd: number): number;
  recvStart(): number;
  onmessage?: unknown;
  send?: unknown;
  send6?: unknown;
  connect?: unknown;
  connect6?: unknown;
  close(callback?: () => void): void;
  addMembership(group: string, address?: string): number;
  dropMembership(group: string, address?: string): number;
  addSourceSpecificMembership(source: string, group: string, address?: string): number;
  dropSourceSpecificMembership(source: string, group: string, address?: string): number;
}

export interface UdpBinding {
  UDP: { new (): UdpHandle; prototype: UdpHandle };
}

type SeeBind = (handle: UdpHandle, bind: BindArguments, native: () => number) => number;

/** Lets `see` have every bind() to a fixed port. Nothing is loaded or replaced before the first UDP socket (lib/dgram.js, 'udp.socket'). */
export function onUdpBind(see: SeeBind): void {
  const { subscribe } = require('node:diagnostics_channel') as typeof import('node:diagnostics_channel');
  let hooked = false;
  subscribe('udp.socket', (message) => {
    if (hooked) return;
    hooked = true;
    try {
      hookUdp(quietBinding<UdpBinding>('udp_wrap').UDP.prototype, see);
      takeBind6((message as { socket: object }).socket);
    } catch (error) {
      debug('UDP sockets are not shared: %s', (error as Error).message);
    }
  });
}

function hookUdp(prototype: UdpHandle, see: SeeBind): void {
  for (const [name, family] of [
    ['bind', 4],
    ['bind6', 6],
  ] as const)
    replace(
      prototype,
      name,
      (original) =>
        function (this: UdpHandle, ...args: [string, number, number?]) {
          const native = () => Reflect.apply(original, this, args) as number;
          const [address, port, flags] = args;
          return port ? see(this, { family, address, port, flags: flags ?? 0 }, native) : native();
        },
    );
}

/** A udp6 socket's handle has got bind6 as its own bind before it was announced (lib/internal/dgram.js, newHandle). */
function takeBind6(socket: object): void {
  const symbol = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'state symbol',
  );
  const state = symbol && (socket as Record<symbol, { handle?: UdpHandle } | undefined>)[symbol];
  const handle = state?.handle;
  if (handle && Object.hasOwn(handle, 'bind')) handle.bind = handle.bind6;
}

const EADDRINUSE = -98;

/**
 * Memberships belong to the socket, not to the process: in a copy that shares it they are there already, and stay when
 * the copy leaves them (ip(7), IP_ADD_MEMBERSHIP: EADDRINUSE).
 */
export function shareMemberships(handle: UdpHandle): void {
  for (const name of ['addMembership', 'addSourceSpecificMembership'] as const) {
    if (typeof handle[name] !== 'function') continue;
    replace(
      handle,
      name,
      (original) =>
        function (this: UdpHandle, ...args: never[]) {
          const error = Reflect.apply(original, this, args) as number;
          return error === EADDRINUSE ? 0 : error;
        },
    );
  }
  for (const name of ['dropMembership', 'dropSourceSpecificMembership'] as const)
    if (typeof handle[name] === 'function') replace(handle, name, () => () => 0);
}
