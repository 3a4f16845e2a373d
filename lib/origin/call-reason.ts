// SPDX-License-Identifier: Apache-2.0
// Part of the preload.
import type { ListenCall } from '../hook/tcp';

/** What one listen() call asked for that keeps it from being multiplied; undefined where nothing does. */
export function callReason(options: ListenCall['options']): string | undefined {
  if (options === undefined || options === null || typeof options !== 'object') return undefined;
  // Node 22.12 and later make it exclusive, too (lib/net.js, Server.prototype.listen)
  if (options.reusePort) return 'reusePort: true, the app shares its port itself';
  if (options.exclusive) return 'exclusive: true';
  if (typeof options.fd === 'number' && options.fd >= 0) return 'listens on a file descriptor';
  if (options.handle || options._handle) return 'listens on a handle';
  return undefined;
}
