// SPDX-License-Identifier: Apache-2.0
import type { ClosingGroup } from '../group/closing';
import type { ListenerGroup } from '../group/listener-group';
import { serverData } from '../hook/server-data';
import type { ServerInside } from '../hook/tcp';
import type { Handover } from '../workers/messages';

/** The origin's listener groups, open and closing: which worker holds and serves what. Knows nothing of processes. */
export class Groups {
  private readonly byKey = new Map<string, ListenerGroup>();
  private readonly ending = new Set<ClosingGroup>();

  get size(): number {
    return this.byKey.size;
  }

  [Symbol.iterator](): IterableIterator<ListenerGroup> {
    return this.byKey.values();
  }

  /** Some group has not closed yet. */
  get closing(): boolean {
    return this.ending.size > 0;
  }

  add(group: ListenerGroup): void {
    this.byKey.set(group.key, group);
  }

  has(key: string): boolean {
    return this.byKey.has(key);
  }

  /** The open group of this name and generation: a worker may still speak of an earlier one. */
  find(key: string, generation: number): ListenerGroup | undefined {
    const group = this.byKey.get(key);
    return group?.generation === generation ? group : undefined;
  }

  get(key: string): ListenerGroup | undefined {
    return this.byKey.get(key);
  }

  /** The group of a server, and the workers that may have connections of it. */
  ofServer(server: ServerInside): { group: ListenerGroup; workers: ReadonlySet<number> } | undefined {
    for (const group of this) if (group.server === server) return { group, workers: group.ready };
    for (const { group, left } of this.ending) if (group.server === server) return { group, workers: left };
    return undefined;
  }

  /** The group is open no longer; its sockets live on until `closed`. */
  remove(group: ListenerGroup): void {
    this.byKey.delete(group.key);
  }

  closes(closing: ClosingGroup): void {
    this.ending.add(closing);
  }

  closed(closing: ClosingGroup): void {
    this.ending.delete(closing);
  }

  /** A group of this address that is closing and whose sockets nobody has taken over. */
  closingAt(key: string): ClosingGroup | undefined {
    for (const closing of this.ending) {
      const { group, inherited } = closing;
      if (group.key === key && !inherited && !group.closed) return closing;
    }
    return undefined;
  }

  /** Whether a closing group has sockets on this port, whatever the address. */
  holdsPort(port: number): boolean {
    return [...this.ending].some(({ group }) => !group.closed && group.port === port);
  }

  /** Whether this worker accepts anywhere, also where the origin is closing. */
  servedBy(index: number): boolean {
    for (const group of this) if (group.ready.has(index)) return true;
    for (const { group } of this.ending) if (group.ready.has(index)) return true;
    return false;
  }

  /** Whether the kernel may give worker `index` connections, though nothing steers to it. */
  exposes(index: number): boolean {
    return this.all.some((group) => !group.hasProgram && group.holders.has(index));
  }

  private get all(): ListenerGroup[] {
    return [...this, ...[...this.ending].map((closing) => closing.group)];
  }

  /** The sockets that the origin holds for this app alone. */
  sockets(): number[] {
    return this.all.flatMap((group) => (group.closed || group.given ? [] : group.sockets));
  }

  /** Another process is about to have this descriptor, too. Returns false where it is none of a group. */
  give(fd: number): boolean {
    const group = this.all.find(({ closed, sockets }) => !closed && sockets.includes(fd));
    if (group) group.given = true;
    return group !== undefined;
  }

  /** A worker has given its socket of this group away. */
  given(key: string, generation: number): void {
    for (const group of this.all)
      if (group.key === key && group.generation === generation) group.given = true;
  }

  /** What worker `index` is given: its socket of each of these groups, which it holds from now on. */
  handover(index: number, groups: Iterable<ListenerGroup> = this): { fds: number[]; handover: Handover } {
    const list = [...groups];
    for (const group of list) {
      group.holders.add(index);
      group.letGo.delete(index);
    }
    return {
      fds: list.map((group) => group.sockets[index] as number),
      handover: {
        sockets: list.map(({ key, generation, hasProgram, server }) => {
          const data = serverData(server);
          return { key, generation, once: !hasProgram, ...(data === undefined ? {} : { data }) };
        }),
      },
    };
  }

  /** A worker has closed its server. Returns the open group that is to be steered anew. */
  gone(index: number, key: string, generation: number): ListenerGroup | undefined {
    // from now on the sweep of a closing group serves what still comes into its queue
    for (const { group } of this.ending) if (group.generation === generation) group.ready.delete(index);
    const group = this.find(key, generation);
    return group?.ready.delete(index) ? group : undefined;
  }

  /** A worker has no descriptor of its socket any more, and may still have connections. */
  dropped(index: number, key: string, generation: number): void {
    this.find(key, generation)?.letGo.add(index);
    for (const closing of [...this.ending])
      if (closing.group.generation === generation) closing.workerDropped(index);
  }

  /** A worker has closed its server and its duplicate because the origin asked it to. */
  left(index: number, key: string, generation: number): void {
    for (const closing of [...this.ending]) {
      const { group } = closing;
      if (group.key !== key || group.generation !== generation) continue;
      group.ready.delete(index);
      closing.workerLeft(index);
    }
  }

  /** Worker `index` lives on, and has neither sockets of any group nor connections. */
  parted(index: number): void {
    for (const closing of [...this.ending]) closing.workerLeft(index);
    for (const group of this) {
      group.ready.delete(index);
      group.holders.delete(index);
    }
  }

  /**
   * A worker has ended.
   * @param successorSince when another one was started under its index, by performance.now(): that one has the sockets of
   * all groups that were open then; undefined where there is none
   */
  ended(index: number, successorSince?: number): void {
    for (const closing of [...this.ending])
      if (successorSince === undefined || closing.begun < successorSince) closing.workerLeft(index);
    if (successorSince !== undefined) return;
    for (const group of this) group.workerEnded(index);
  }
}
