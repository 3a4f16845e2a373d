// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { removeNginxFolders } from './nginx';
import { endWithEverything } from './processes';

/** Runs a benchmark's own part; whatever ends it, nothing that it has started is left. */
export function run(name: string, usage: string, part: (argv: string[]) => Promise<void>): void {
  endWithEverything(removeNginxFolders);
  const argv = process.argv.slice(2);
  if (argv.includes('--help')) {
    process.stdout.write(`${usage}\n`);
    return;
  }
  part(argv).catch((error: Error) => {
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exit(1);
  });
}

/** Options, or the end of the program with what is wrong and how it should be. */
export function optionsOr<T>(usage: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}\n`);
    process.exit(2);
  }
}

/** `v24.1.0`. @throws Error when it does not run */
export function versionOf(node: string): string {
  return execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
}
