// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';

/** A started program, before it is (lib/internal/child_process.js, ChildProcess). */
interface Starting {
  spawn?(options: { stdio?: unknown } | undefined): unknown;
}

/** What child_process takes for a program's descriptors: numbers, and whatever has a descriptor of its own. */
interface Stdio {
  fd?: unknown;
  handle?: Stdio | null;
  _handle?: Stdio | null;
}

function descriptorOf(entry: unknown): number | undefined {
  if (typeof entry === 'number') return entry;
  if (typeof entry !== 'object' || entry === null) return undefined;
  const { fd, handle, _handle } = entry as Stdio;
  return typeof fd === 'number' ? fd : descriptorOf(_handle ?? handle);
}

/** Calls `given` with the descriptors of this process that a program which it starts inherits as its own first ones. */
export function onStdioGiven(given: (fd: number) => void): void {
  const { subscribe } = require('node:diagnostics_channel') as typeof import('node:diagnostics_channel');
  subscribe('child_process', (message) => {
    const child = (message as { process?: Starting }).process;
    const spawn = child?.spawn;
    if (!child || typeof spawn !== 'function') return;
    const once = function (this: Starting, options: { stdio?: unknown } | undefined): unknown {
      delete this.spawn;
      try {
        const stdio = options?.stdio;
        for (const entry of Array.isArray(stdio) ? stdio : []) {
          const fd = descriptorOf(entry);
          if (fd !== undefined && fd >= 0) given(fd);
        }
      } catch (error) {
        debug('what a program inherits is not known: %s', (error as Error).message);
      }
      return Reflect.apply(spawn, this, [options]);
    };
    Object.defineProperty(child, 'spawn', {
      value: once,
      configurable: true,
      enumerable: false,
      writable: true,
    });
  });
}
