// SPDX-License-Identifier: Apache-2.0
// Part of the preload.
import { type AnyFunction, replace } from './replace';

/** Without CAP_SETGID these fail also where they would change nothing (setgroups(2)), setuid(2) and its like do not. */
const OF_GROUPS: readonly string[] = ['setgroups', 'initgroups'];
const NAMES = ['setuid', 'setgid', 'seteuid', 'setegid', ...OF_GROUPS];

export interface CredentialHooks {
  /** A change of user or group has succeeded; `call`: its name and arguments, as JSON. */
  changed(call: string): void;
  /** The process may not change its groups (EPERM). True: it has come to be with what the call would make of them. */
  inherited?(call: string): boolean;
}

function inWords(name: string, args: readonly unknown[]): string {
  try {
    return JSON.stringify([name, ...args]);
  } catch {
    // what is no JSON is no user
    return name;
  }
}

/** Sees process.setuid() and the like. */
export function hookCredentials({ changed, inherited }: CredentialHooks): void {
  for (const name of NAMES) {
    const target = process as unknown as Record<string, AnyFunction>;
    if (typeof target[name] !== 'function') continue;
    replace(
      target,
      name,
      (original) =>
        function (this: unknown, ...args: never[]) {
          let result: unknown;
          try {
            result = Reflect.apply(original as AnyFunction, process, args);
          } catch (error) {
            const barred = OF_GROUPS.includes(name) && (error as NodeJS.ErrnoException).code === 'EPERM';
            if (!barred || !inherited?.(inWords(name, args))) throw error;
            return undefined;
          }
          changed(inWords(name, args));
          return result;
        },
    );
  }
}
