// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from 'node:fs';
import { debug } from '../log';

/** Makes room for another descriptor, once. */
export type Room = () => void;

const NONE_LEFT: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE']);

/**
 * Keeps room for a descriptor that will come over the channel: one that finds none is dropped by the kernel, and the
 * message comes without it (recvmsg(2), MSG_CTRUNC).
 * @returns undefined where this process may open no more
 */
export function keepRoom(): Room | undefined {
  try {
    const fd = openSync('/dev/null', 'r');
    return () => closeSync(fd);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (NONE_LEFT.has(code)) return undefined;
    debug('no room is kept for a listening socket: %s', code);
    return () => {};
  }
}
