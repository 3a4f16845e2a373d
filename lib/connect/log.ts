// SPDX-License-Identifier: Apache-2.0
import { debug, debugging } from '../log';
import type { Addon } from '../native/addon';
import { destinationLine, listDestinations } from './destinations';

const EVERY_MS = 10_000;

/** Says in the debug log now and then, and at the end, where connections go to. */
export function logDestinations(addon: Addon): void {
  if (!debugging()) return;
  const said = new Map<string, string>();
  const say = () => {
    for (const destination of listDestinations(addon)) {
      const { address, port, localAddress } = destination;
      const key = `${localAddress} ${address} ${port}`;
      const line = destinationLine(destination);
      if (said.get(key) !== line) debug('%s', line);
      said.set(key, line);
    }
  };
  try {
    setInterval(say, EVERY_MS).unref();
    process.on('exit', say);
  } catch {
    // the app's clock, not Node's
  }
}
