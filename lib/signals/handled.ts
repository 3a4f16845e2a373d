// SPDX-License-Identifier: Apache-2.0

/**
 * Whether something in this process listens for a signal. process.listenerCount() is not asked: tsx puts a function of its
 * own there that leaves out its handlers (its preflight.cjs), and they run all the same, in the place of the default.
 */
export function isHandled(signal: string): boolean {
  const { EventEmitter } = require('node:events') as typeof import('node:events');
  return (Reflect.apply(EventEmitter.prototype.listenerCount, process, [signal]) as number) > 0;
}
