// SPDX-License-Identifier: Apache-2.0
// Part of the preload.
import type { UdpHandle } from './udp';

/** The first datagram of a UDP socket: a client sends it, a server receives it. */
export interface First {
  way: 'sent' | 'received';
  /** On the clock that all processes have (CLOCK_MONOTONIC): an answer that one receives is later than what another sent. */
  atMs: number;
}

const SENDS = ['send', 'send6', 'connect', 'connect6'] as const;

/**
 * Says once which way the first datagram of this handle goes; from then on all is as if nobody had asked. It begins with
 * recvStart(): dgram.js puts functions of its own on a handle that comes from elsewhere, lets it receive, and sends no
 * sooner (lib/dgram.js, replaceHandle, startListening).
 */
export function onFirstDatagram(handle: UdpHandle, see: (first: First) => void): void {
  const own = (name: string, value: unknown) =>
    Object.defineProperty(handle, name, { value, configurable: true, enumerable: false, writable: true });
  own('recvStart', () => {
    delete (handle as Partial<UdpHandle>).recvStart;
    watch(handle, own, see);
    return handle.recvStart();
  });
}

function watch(
  handle: UdpHandle,
  own: (name: string, value: unknown) => void,
  see: (first: First) => void,
): void {
  const undo: (() => void)[] = [];
  const seen = (way: First['way']) => {
    for (const restore of undo.splice(0)) restore();
    const [seconds, nanoseconds] = process.hrtime();
    see({ way, atMs: seconds * 1e3 + nanoseconds / 1e6 });
  };
  for (const name of SENDS) {
    const before = Object.getOwnPropertyDescriptor(handle, name);
    const original = handle[name];
    if (typeof original !== 'function') continue;
    own(name, (...args: never[]) => {
      seen('sent');
      return Reflect.apply(original, handle, args);
    });
    undo.push(() => {
      if (before) Object.defineProperty(handle, name, before);
      else delete handle[name];
    });
  }
  const { onmessage } = handle;
  const first = (...args: [nread: number, ...never[]]) => {
    // an error is no datagram
    if (args[0] >= 0) seen('received');
    return Reflect.apply(onmessage as (...all: unknown[]) => unknown, handle, args);
  };
  handle.onmessage = first;
  undo.push(() => {
    if (handle.onmessage === first) handle.onmessage = onmessage;
  });
}
