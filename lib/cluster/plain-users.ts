// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';

type Group = Pick<ListenerGroup, 'generation'>;

/** Workers, by cluster's id, that have no socket of their own in a group, and are served by the primary alone. */
export class PlainUsers {
  private readonly users = new Map<number, Set<number>>();
  /** Groups that have no sockets for workers any more. */
  private readonly whole = new Set<number>();

  add(worker: number, { generation }: Group): void {
    this.users.set(generation, (this.users.get(generation) ?? new Set()).add(worker));
  }

  addAll({ generation }: Group): void {
    this.whole.add(generation);
  }

  /** It has a socket of its own now, or has ended. */
  left(worker: number, { generation }: Group): void {
    this.users.get(generation)?.delete(worker);
  }

  /** The primary has to serve this group. */
  uses({ generation }: Group): boolean {
    return this.whole.has(generation) || (this.users.get(generation)?.size ?? 0) > 0;
  }

  closed({ generation }: Group): void {
    this.users.delete(generation);
    this.whole.delete(generation);
  }
}
