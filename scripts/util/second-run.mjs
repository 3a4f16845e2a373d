// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path';

/**
 * Runs test files, turn after turn, and in CI those that failed once more, one at a time: the machines there stall for
 * seconds, and one test in a thousand meets a moment that its author has not thought of. Both runs are shown, and what
 * needed the second is named in the last line, so that somebody mends it. `attempt` runs the files of a turn and returns
 * those that failed. Returns whether every file has passed in one of its runs.
 */
export function passesInTheEnd(turns, attempt) {
  const failed = turns.flatMap(attempt);
  if (failed.length === 0 || !process.env.CI) return failed.length === 0;
  const names = failed.map((file) => basename(file)).join(' ');
  console.log(`\n== failed, and run once more: ${names}\n`);
  const again = attempt({ files: failed, width: 1 });
  console.log(
    again.length > 0 ? `\n== failed twice: ${again.join(' ')}` : `\n== passed only the second time: ${names}`,
  );
  return again.length === 0;
}
