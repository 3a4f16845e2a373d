// SPDX-License-Identifier: Apache-2.0
// A reporter of `node --test`: the files in which something failed, a line each. As it stands in the runner's own process,
// it sees to files that hang as well.
import { isAbsolute } from 'node:path';
import { limitFiles } from './file-limit.mjs';

// biome-ignore lint/style/noDefaultExport: what the runner takes a reporter from
export default async function* failedFiles(source) {
  const seen = new Set();
  const unlimited = limitFiles();
  for await (const { type, data } of source) {
    // a file that has been killed at the time limit is a test of its own, named by its path
    const file = data?.file ?? (isAbsolute(String(data?.name)) ? data.name : undefined);
    if (type !== 'test:fail' || file === undefined || seen.has(file)) continue;
    seen.add(file);
    yield `${file}\n`;
  }
  unlimited();
}
