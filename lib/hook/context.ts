// SPDX-License-Identifier: Apache-2.0

/** Runs a function in the async context that was captured (AsyncLocalStorage.snapshot). */
export type InContext = <T>(f: () => T) => T;

/** The async context of now, for callbacks that come from somewhere else with us than with Node alone. */
export function captureContext(): InContext {
  const { AsyncLocalStorage } = require('node:async_hooks') as typeof import('node:async_hooks');
  return AsyncLocalStorage.snapshot() as InContext;
}
