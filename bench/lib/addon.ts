// SPDX-License-Identifier: Apache-2.0
import { loadAddon } from '../../lib/native/load';

/** The file of the addon as the hook loads it. @throws Error with the reason where there is none */
export function addonFile(): string {
  const { reason } = loadAddon();
  const file = Object.keys(require.cache).find((name) => name.endsWith('fastsocket.node'));
  if (!file) throw new Error(reason ?? 'the addon is not in the module cache');
  return file;
}
