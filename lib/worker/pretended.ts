// SPDX-License-Identifier: Apache-2.0
import { type BindArguments, groupKey } from '../group/key';
import { interceptClose } from '../hook/node';
import { endPretending, pretendBound } from '../hook/pretend';
import type { TcpHandle } from '../hook/tcp';

interface Listening {
  handle: TcpHandle;
  bind: BindArguments;
  backlog: number;
}

/** Servers that only believe to be bound, and to listen: the origin has closed the address again, or serves it alone. */
export class Pretended {
  private readonly bound = new WeakMap<TcpHandle, BindArguments>();
  private readonly listening = new Map<string, Listening>();

  /** @param closed the app has closed it */
  bind(handle: TcpHandle, bind: BindArguments, closed: (key: string) => void): void {
    const key = groupKey(bind);
    pretendBound(handle, bind);
    this.bound.set(handle, bind);
    interceptClose(handle, (close) => {
      this.listening.delete(key);
      closed(key);
      close();
    });
  }

  /** False where it is none of these. */
  listen(handle: TcpHandle, backlog: number): boolean {
    const bind = this.bound.get(handle);
    if (bind) this.listening.set(groupKey(bind), { handle, bind, backlog });
    return bind !== undefined;
  }

  /** Those for whose address there is a socket by now: they are to be bound, and to listen. */
  take(has: (key: string) => boolean): Listening[] {
    const taken = [...this.listening].filter(([key]) => has(key));
    for (const [key, { handle }] of taken) {
      this.listening.delete(key);
      this.bound.delete(handle);
      endPretending(handle);
    }
    return taken.map(([, listening]) => listening);
  }
}
