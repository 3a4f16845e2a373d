// SPDX-License-Identifier: Apache-2.0
// Between process.on('SIG...') and libuv. Part of the preload.
import type { AnyFunction } from './replace';

/**
 * Gets between process.on('SIG...') and libuv. Node's own 'newListener' listener starts a signal handle and binds
 * process.emit as it is at that moment (lib/internal/process/signal.js, startListeningIfSignal); the Signal class itself
 * is out of reach (process.binding('signal_wrap') is refused from Node 24 on).
 * @returns false where Node's listener is not found
 */
export function hookSignalStart(
  signals: ReadonlySet<string>,
  start: (signal: string, node: (signal: string) => void) => void,
): boolean {
  const node = (process as NodeJS.EventEmitter)
    .listeners('newListener')
    .find((f) => f.name === 'startListeningIfSignal') as ((type: string | symbol) => void) | undefined;
  if (!node) return false;
  process.removeListener('newListener', node);
  process.on('newListener', function startListeningIfSignal(type: string | symbol) {
    if (typeof type === 'string' && signals.has(type)) start(type, node);
    else node(type);
  });
  // another preload was here before us: let its listeners start again, through the replacement
  for (const signal of signals) {
    const listeners = process.rawListeners(signal);
    if (listeners.length === 0) continue;
    process.removeAllListeners(signal);
    for (const listener of listeners) process.on(signal, listener as () => void);
  }
  return true;
}

/** Runs `start` while process.emit is `emit`: what Node binds to the signal handle is then ours, and the app sees no change. */
export function withProcessEmit(
  emit: (original: AnyFunction, args: unknown[]) => unknown,
  start: () => void,
): void {
  const own = Object.getOwnPropertyDescriptor(process, 'emit');
  const original = process.emit as AnyFunction;
  Object.defineProperty(process, 'emit', {
    value: (...args: unknown[]) => emit(original, args),
    configurable: true,
    writable: true,
  });
  try {
    start();
  } finally {
    if (own) Object.defineProperty(process, 'emit', own);
    else delete (process as { emit?: unknown }).emit;
  }
}
