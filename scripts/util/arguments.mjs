// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { fail } from './shell.mjs';

/**
 * `--option VALUE` for each key of `known`, then names, then whatever stands behind `--`. An unknown option ends the
 * program with a line that lists the known ones.
 */
export function splitArguments(argv, known = {}) {
  const end = argv.indexOf('--');
  const own = end < 0 ? argv : argv.slice(0, end);
  const options = Object.fromEntries(Object.keys(known).map((name) => [name, { type: 'string' }]));
  try {
    const { values, positionals } = parseArgs({ args: own, options, allowPositionals: true });
    return { options: values, names: positionals, rest: end < 0 ? [] : argv.slice(end + 1) };
  } catch (error) {
    const usage = Object.entries(known).map(([name, value]) => `--${name} ${value.toUpperCase()}`);
    return fail(`${error.message.split('. ')[0]} (known: ${usage.join(', ') || 'none'})`);
  }
}
