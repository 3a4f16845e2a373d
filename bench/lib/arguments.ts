// SPDX-License-Identifier: Apache-2.0

const MOST_PAIRS = 1_000;
const MOST_SECONDS = 600;
const MOST_CLIENTS = 10_000;
const MOST_CONNECTIONS = 1_000_000_000;

/** A number from the command line. @throws Error that names the option */
export function number(name: string, text: string, least: number, most: number, whole: boolean): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
  throw new Error(`--${name} ${text}: must be ${whole ? 'whole, ' : ''}from ${least} to ${most}`);
}

export const countOf = (name: string, text: string): number => number(name, text, 1, MOST_CONNECTIONS, true);
export const pairsOf = (text: string): number => number('pairs', text, 1, MOST_PAIRS, true);
export const secondsOf = (text: string): number => number('seconds', text, 0.1, MOST_SECONDS, false);
export const clientsOf = (text: string): number[] =>
  text.split(',').map((one) => number('clients', one, 1, MOST_CLIENTS, true));

/** Words of a list, each one of `allowed`. @throws Error that names the option */
export function wordsOf<T extends string>(name: string, text: string, allowed: readonly T[]): T[] {
  return text.split(',').map((word) => {
    const known = allowed.find((each) => each === word.trim());
    if (known === undefined) throw new Error(`--${name} ${text}: there are ${allowed.join(', ')}`);
    return known;
  });
}
