// SPDX-License-Identifier: Apache-2.0
import { debug, debugging } from '../log';
import type { Addon } from '../native/addon';
import { destinationLine, listDestinations } from './destinations';

const EVERY_MS = 10_000;

/** Says in the debug log now and then, and at the end, where connections go to. An app that makes none sees no listener. */
export function logDestinations(addon: Addon, connects: boolean): void {
  if (!debugging()) return;
  const said = new Map<string, string>();
  let atEnd = false;
  const say = () => {
    const destinations = listDestinations(addon);
    for (const destination of destinations) {
      const { address, port, localAddress } = destination;
      const key = `${localAddress} ${address} ${port}`;
      const line = destinationLine(destination);
      if (said.get(key) !== line) debug('%s', line);
      said.set(key, line);
    }
    if (!atEnd && (connects || destinations.length > 0)) {
      atEnd = true;
      process.on('exit', say);
    }
  };
  try {
    setInterval(say, EVERY_MS).unref();
  } catch {
    // the app's clock, not Node's
  }
  if (connects) say();
}
