// SPDX-License-Identifier: Apache-2.0
import { type Addon, VERSION } from './addon';

export interface LoadedAddon {
  addon?: Addon;
  /** Why there is none. */
  reason?: string;
}

let loaded: LoadedAddon | undefined;

/** The folder of the package: dist/ and the compiled tree both lie somewhere below it. */
function packageRoot(): string | undefined {
  const { existsSync } = require('node:fs') as typeof import('node:fs');
  const { dirname, join } = require('node:path') as typeof import('node:path');
  for (let folder = __dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Loads the prebuilt addon: glibc's, or musl's where that one cannot be linked. The answer is kept. */
export function loadAddon(): LoadedAddon {
  loaded ??= load();
  return loaded;
}

function load(): LoadedAddon {
  const root = packageRoot();
  if (root === undefined) return { reason: 'the package folder was not found' };
  const reasons: string[] = [];
  for (const libc of ['glibc', 'musl']) {
    const name = `${process.platform}-${process.arch}-${libc}`;
    try {
      const addon = require(`${root}/prebuilds/${name}/fastsocket.node`) as Addon;
      if (addon.version === VERSION) return { addon };
      reasons.push(`${name}: version ${addon.version}, not ${VERSION}`);
    } catch (error) {
      const [line] = (error as Error).message.split('\n');
      const missing = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND';
      reasons.push(`${name}: ${missing ? 'not in this package' : line}`);
    }
  }
  return { reason: `the addon could not be loaded (${reasons.join('; ')})` };
}
