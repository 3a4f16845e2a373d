// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { watched } from '../config/environment';

/** What Node's loaders tell `node --watch` (lib/internal/modules/cjs/loader.js, reportModuleToWatchMode, and esm/utils.js). */
const KINDS = ['watch:require', 'watch:import'];

export const isReport = (message: unknown): boolean =>
  typeof message === 'object' &&
  message !== null &&
  KINDS.some((kind) => Array.isArray((message as Record<string, unknown>)[kind]));

/** A file that only a request loads is loaded in a worker, which has the origin where `node --watch` would be. */
export function passOnReports(child: ChildProcess): void {
  if (!process.send || !watched()) return;
  child.on('message', (message) => {
    if (process.connected && isReport(message)) process.send?.(message, undefined, undefined, () => {});
  });
}
