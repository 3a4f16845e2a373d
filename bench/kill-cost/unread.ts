// SPDX-License-Identifier: Apache-2.0

/** Words for ss(8), which asks the kernel for one port's sockets: the whole table takes seconds with those in TIME_WAIT. */
export const socketsOf = (port: number): string[] => [
  ...['ss', '-Htne', 'state', 'connected', 'exclude', 'time-wait'],
  ...['sport', '=', `:${port}`],
];

/**
 * Connections that a process has (an inode; those in the queue of a listener have none) and that have received something
 * nobody has read.
 * @param text what `ss` says of the port
 */
export function acceptedUnread(text: string): number {
  return text.split('\n').filter((line) => {
    const [state, received] = line.trim().split(/\s+/);
    if (state !== 'ESTAB' && state !== 'CLOSE-WAIT') return false;
    return Number(received) > 0 && Number(/\bino:(\d+)/.exec(line)?.[1] ?? 0) > 0;
  }).length;
}
