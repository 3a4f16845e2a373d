// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders: string[] = [];

/**
 * A new folder, which is there until this process ends. Not removed by an `after` of the test: the apps are stopped by
 * another one, and may still write there, and one that throws (ENOTEMPTY) keeps those behind it from being called, so that
 * the apps go on and the test file never ends.
 */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `fastsocket-${name}-`));
  folders.push(folder);
  return folder;
}

process.once('exit', () => {
  for (const folder of folders)
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // somebody writes there still: of no consequence for what has been tested
    }
});
