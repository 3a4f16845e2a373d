// SPDX-License-Identifier: Apache-2.0
import { replace } from './replace';

/**
 * Servers on a path remove what an earlier run has left there before they listen, and what they leave themselves at their
 * end. In a copy that would take the path from the server that has it: `spares` says which paths stay. The app is
 * told that the file has gone.
 */
export function hookUnlink(spares: (path: string) => boolean): void {
  const fs = require('node:fs') as typeof import('node:fs');
  const spared = (path: unknown) =>
    (typeof path === 'string' || Buffer.isBuffer(path)) && spares(String(path));
  for (const name of ['unlinkSync', 'rmSync'] as const)
    replace(
      fs,
      name,
      (original) =>
        function (this: unknown, ...args: never[]) {
          return spared(args[0]) ? undefined : Reflect.apply(original, this, args);
        } as typeof original,
    );
  for (const name of ['unlink', 'rm'] as const)
    replace(
      fs as unknown as Record<string, (...args: unknown[]) => unknown>,
      name,
      (original) =>
        function (this: unknown, ...args: unknown[]) {
          const callback = args.at(-1);
          if (typeof callback !== 'function' || !spared(args[0])) return Reflect.apply(original, this, args);
          return process.nextTick(callback as () => void, null);
        },
    );
  for (const name of ['unlink', 'rm'] as const)
    replace(
      fs.promises as unknown as Record<string, (...args: unknown[]) => Promise<void>>,
      name,
      (original) =>
        function (this: unknown, ...args: unknown[]) {
          return spared(args[0]) ? Promise.resolve() : Reflect.apply(original, this, args);
        },
    );
  const { syncBuiltinESMExports } = require('node:module') as typeof import('node:module');
  syncBuiltinESMExports();
}
