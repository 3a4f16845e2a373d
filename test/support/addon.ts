// SPDX-License-Identifier: Apache-2.0
import { addonFile } from '../../bench/lib/addon';
import type { Addon } from '../../lib/native/addon';
import { loadAddon } from '../../lib/native/load';

/** The addon as it is shipped, or the build that FASTSOCKET_TEST_ADDON names (the one with the sanitizers). */
export function testAddon(): Addon {
  const path = process.env['FASTSOCKET_TEST_ADDON'];
  if (path) return require(path) as Addon;
  const { addon, reason } = loadAddon();
  if (!addon) throw new Error(reason);
  return addon;
}

/** What a child process needs to find the same addon. */
export const addonPath = (): string => process.env['FASTSOCKET_TEST_ADDON'] || addonFile();
