// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Paths of all files below `folder`, sorted, `skip`ped folder names left out; none when the folder is missing. */
export function filesBelow(folder, skip = ['node_modules', '.git']) {
  if (!existsSync(folder)) return [];
  const paths = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!skip.includes(entry.name)) paths.push(...filesBelow(path, skip));
    } else if (entry.isFile()) paths.push(path);
  }
  return paths.sort();
}

/**
 * Writes a file only where its content differs, by rename: a build in one terminal does not pull a file from under a
 * test that runs in another.
 */
export function writeIfChanged(path, content, mode) {
  const bytes = Buffer.from(content);
  if (existsSync(path) && readFileSync(path).equals(bytes)) return;
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, bytes);
  if (mode !== undefined) chmodSync(temporary, mode);
  renameSync(temporary, path);
}

/** Copies a file with its mode, when it differs. */
export function copyIfChanged(from, to) {
  writeIfChanged(to, readFileSync(from), statSync(from).mode & 0o777);
}

/** Removes the files below `folder` that are not in `wanted` (absolute paths): what has no source any more. */
export function removeOthers(folder, wanted) {
  const keep = new Set(wanted);
  for (const path of filesBelow(folder)) {
    if (!keep.has(path) && !path.endsWith('.tmp')) rmSync(path, { force: true });
  }
}

/** A new folder that is removed when this program ends, however it ends short of a fatal signal. */
export function temporaryFolder(parent = tmpdir()) {
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, 'fastsocket-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
