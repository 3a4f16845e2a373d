// SPDX-License-Identifier: Apache-2.0

/** What the public API answers from; one object per process, found by the register bundle and the API bundle alike. */
export interface State {
  /** 'origin', 'worker', or 'none' where the hook does nothing in this process. */
  role: 'origin' | 'worker' | 'none';
  /** True while this process is a worker, or an origin whose app has been multiplied. */
  active: boolean;
  /** CPU this worker's event loop is pinned to. */
  core: number | undefined;
  /** In the origin: workers that live now. In a worker: how many there are to be. */
  workers: () => number;
  /** Why the app is not multiplied, or what had to be left out. */
  reason: string | undefined;
  /** Settings when the hook was loaded; undefined in a worker thread, which may have been given another environment. */
  settings: Record<string, string> | undefined;
  /** Where connections go to whose source ports are chosen here; lib/index.ts says what is told of each. */
  destinations: () => readonly object[];
}

const KEY = Symbol.for('fastsocket.state');
type Holder = { [KEY]?: State };

/** The state of this process, or undefined where the hook was never loaded. */
export function currentState(): State | undefined {
  return (process as Holder)[KEY];
}

/**
 * Makes the state of this process. Returns undefined when another copy of the hook was here first: loading it twice
 * is harmless. Not enumerable and not on globalThis, so that programs that check for leaked globals see nothing.
 */
export function claimState(): State | undefined {
  if (currentState()) return undefined;
  const state: State = {
    role: 'none',
    active: false,
    core: undefined,
    workers: () => 0,
    reason: undefined,
    settings: undefined,
    destinations: () => [],
  };
  Object.defineProperty(process, KEY, {
    value: state,
    enumerable: false,
    configurable: false,
    writable: false,
  });
  return state;
}
