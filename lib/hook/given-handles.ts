// SPDX-License-Identifier: Apache-2.0
import { debug } from '../log';
import { onStdioGiven } from './given-stdio';
import { replace } from './replace';
import { quietBinding } from './tcp';

/** The channel between processes (lib/internal/child_process/serialization.js, writeChannelMessage). */
type Write = (this: unknown, request: unknown, data: unknown, handle?: { fd?: number }) => unknown;
type Channel = Record<'writeUtf8String' | 'writeBuffer', Write>;

/** Calls `given` with the descriptors that another process is about to have, too: sent to it, or its own from the start. */
export function onHandleGiven(given: (fd: number) => void): void {
  onStdioGiven(given);
  try {
    const { prototype } = quietBinding<{ Pipe: { prototype: Channel } }>('pipe_wrap').Pipe;
    for (const name of ['writeUtf8String', 'writeBuffer'] as const)
      replace(
        prototype,
        name,
        (original) =>
          function (this: unknown, ...args: Parameters<Write>) {
            const fd = args[2]?.fd;
            if (typeof fd === 'number' && fd >= 0) given(fd);
            return Reflect.apply(original, this, args);
          },
      );
  } catch (error) {
    debug('which sockets are sent to other processes is not known: %s', (error as Error).message);
  }
}
