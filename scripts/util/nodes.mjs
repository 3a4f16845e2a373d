// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, runQuietly, say } from './shell.mjs';

export const VERSIONS = ['20', '22', '24', '26'];

/** The path of a Node binary of this major version, installed from npm into build/nodes when it is not there yet. */
export function nodeBinary(version) {
  const folder = join(root, 'build/nodes', version);
  const name = `node-${process.platform}-${process.arch}`;
  const binary = join(folder, 'node_modules', name, 'bin/node');
  if (!existsSync(binary)) {
    say(`installing Node ${version}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
    runQuietly('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`], {
      cwd: folder,
    });
  }
  return binary;
}
