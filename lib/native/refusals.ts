// SPDX-License-Identifier: Apache-2.0
import { debug, debugging } from '../log';
import type { Addon } from './addon';

/** Refused calls are looked for soon at first, then ever more seldom. */
const FIRST_MS = 100;
const LONGEST_MS = 10_000;

let looking = false;

/** EPERM, EACCES, EINVAL, ENOSYS, ENOPROTOOPT (native/refused.h). */
const REFUSALS: ReadonlySet<number> = new Set([-1, -13, -22, -38, -92]);

/** Whether that is an error of a call that is refused whatever it is about: an old kernel's, or a seccomp profile's. */
export function isRefusal(error: number): boolean {
  return REFUSALS.has(error);
}

/** Says in the debug log, once for each, which system calls have failed that the hook does without. */
export function tellRefusals(addon: Pick<Addon, 'refusals'>): void {
  if (!debugging()) return;
  for (const what of addon.refusals()) debug('%s', what);
}

/** From now on they are told, some time after it has happened. */
export function watchRefusals(addon: Pick<Addon, 'refusals'>): void {
  if (!debugging() || looking) return;
  looking = true;
  lookIn(addon, FIRST_MS);
}

function lookIn(addon: Pick<Addon, 'refusals'>, ms: number): void {
  try {
    setTimeout(() => {
      tellRefusals(addon);
      lookIn(addon, Math.min(2 * ms, LONGEST_MS));
    }, ms).unref();
  } catch {
    // the app's clock, not Node's
  }
}
