// SPDX-License-Identifier: Apache-2.0

/** Signals that end or reload a server: they reach every process of the tree exactly once, through the origin. */
export const RELAYED: ReadonlyMap<string, number> = new Map([
  ['SIGHUP', 1],
  ['SIGINT', 2],
  ['SIGUSR2', 12],
  ['SIGTERM', 15],
]);

/** Those that mean "read your configuration again" to most servers that go on after them. */
export const RELOADS: ReadonlySet<number> = new Set([1, 12]);

export const RELAYED_NAMES: ReadonlySet<string> = new Set(RELAYED.keys());
export const RELAYED_NUMBERS: readonly number[] = [...RELAYED.values()];

export function nameOf(signal: number): string | undefined {
  for (const [name, number] of RELAYED) if (number === signal) return name;
  return undefined;
}
