// SPDX-License-Identifier: Apache-2.0

/** How many sockets of the last connections are in TIME_WAIT, by side. */
export interface ClosedFirst {
  server: number;
  client: number;
}

export interface PortSockets {
  listening: boolean;
  /** The side that sends the first FIN is the one that comes to TIME_WAIT (tcp(7), RFC 9293 3.6); after two that cross, both. */
  closedFirst: ClosedFirst;
}

const LISTEN = '0A';
const TIME_WAIT = '06';

/** @param text of /proc/net/tcp (Documentation/networking/proc_net_tcp.rst): ports and states in hexadecimal */
export function parseSockets(text: string, serverPort: number): PortSockets {
  const port = serverPort.toString(16).toUpperCase().padStart(4, '0');
  const found: PortSockets = { listening: false, closedFirst: { server: 0, client: 0 } };
  for (const [, local, remote, state] of text.matchAll(
    /: [\dA-F]{8}:([\dA-F]{4}) [\dA-F]{8}:([\dA-F]{4}) (06|0A)/g,
  )) {
    if (state === LISTEN && local === port) found.listening = true;
    if (state !== TIME_WAIT) continue;
    if (local === port) found.closedFirst.server++;
    else if (remote === port) found.closedFirst.client++;
  }
  return found;
}
