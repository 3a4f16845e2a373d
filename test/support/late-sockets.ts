// SPDX-License-Identifier: Apache-2.0
import type { TcpHandle } from '../../lib/hook/tcp';
import type { Addon } from '../../lib/native/addon';
import type { Listening } from '../../lib/origin/late-groups';

const EPERM = -1;
const EAGAIN = -11;

/** A negative errno, with which this call is to fail while so many sockets are open. */
export type Refuse = (call: string, open: number) => number | undefined;

export interface LateSockets {
  addon: Addon;
  /** What has happened. */
  events: string[];
  /** Sockets that have been made and not closed. */
  open: Set<number>;
  /** Listeners that others may join. */
  shared: Set<number>;
  /** Two servers, on descriptors 10 and 20. */
  listening: Map<TcpHandle, Listening>;
}

/** Two servers that listen alone, and an addon that makes sockets beside them, from 101 on. No kernel. */
export function lateSockets(refuse: Refuse): LateSockets {
  const events: string[] = [];
  const open = new Set<number>();
  const shared = new Set<number>();
  let fd = 100;
  const call = (name: string) => {
    events.push(name);
    return refuse(name, open.size) ?? 0;
  };
  const make = (name: string) => {
    const error = call(name);
    if (error < 0) return error;
    open.add(++fd);
    return fd;
  };
  const addon = {
    bindShared: () => make('probe'),
    sibling: (of: number, backlog: number) => make(`sibling of ${of}${backlog < 0 ? '' : ' that listens'}`),
    reusePort: (of: number) => {
      const error = call(`share ${of}`);
      if (error === 0) shared.add(of);
      return error;
    },
    unsharePort: (of: number) => (shared.delete(of) ? 0 : EPERM),
    listen: (of: number) => call(`listen ${of}`),
    attachProgram: (of: number) => call(`program ${of}`),
    accept: (of: number) => {
      events.push(`accept ${of}`);
      return EAGAIN;
    },
    close: (of: number) => open.delete(of),
  } as unknown as Addon;
  const listening = new Map<TcpHandle, Listening>(
    [10, 20].map((own) => [
      { fd: own, onconnection: () => {} } as unknown as TcpHandle,
      {
        key: `4|127.0.0.1|${own}`,
        bind: { family: 4, address: '127.0.0.1', port: own, flags: 0 },
        backlog: 511,
        inContext: (f) => f(),
      },
    ]),
  );
  return { addon, events, open, shared, listening };
}
