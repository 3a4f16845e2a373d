// SPDX-License-Identifier: Apache-2.0
import type { ServerInside } from '../hook/tcp';
import { ConnectionCount } from '../origin/connection-count';
import { FallbackClosing } from './closing';
import type { FallbackGroup } from './group';
import type { FallbackPool } from './pool';

/** The groups that the origin has, open and closing, and what its workers are told about them. */
export class FallbackGroups {
  private readonly open = new Map<string, FallbackGroup>();
  private readonly closing = new Set<FallbackClosing>();
  readonly counts = new ConnectionCount();

  constructor(private readonly pool: FallbackPool) {}

  get all(): Iterable<FallbackGroup> {
    return this.open.values();
  }

  get size(): number {
    return this.open.size;
  }

  add(group: FallbackGroup): void {
    this.open.set(group.key, group);
  }

  get(key: string): FallbackGroup | undefined {
    return this.open.get(key);
  }

  /** The open group of this address, unless a worker speaks of one that has gone. */
  find(key: string, generation: number): FallbackGroup | undefined {
    const group = this.open.get(key);
    return group?.generation === generation ? group : undefined;
  }

  isClosing(key: string): boolean {
    return [...this.closing].some(({ group, listening }) => group.key === key && listening);
  }

  serves(index: number): boolean {
    return [...this.open.values()].some((group) => group.ready.has(index));
  }

  /** `closeHandle` is called when all workers have closed their servers. */
  close(group: FallbackGroup, closeHandle: () => void): void {
    this.open.delete(group.key);
    if (group.holders.size === 0 && group.lingering.size === 0) {
      group.closeSiblings();
      return closeHandle();
    }
    const closing = new FallbackClosing(group, { closeHandle, done: () => this.closing.delete(closing) });
    this.closing.add(closing);
    const { key, generation } = group;
    for (const index of group.holders) {
      const worker = this.pool.get(index);
      if (worker) this.pool.send(worker, { kind: 'close', key, generation });
      else closing.workerLeft(index);
    }
  }

  private ending(generation: number): FallbackClosing | undefined {
    return [...this.closing].find(({ group }) => group.generation === generation);
  }

  /** Worker `index` is closing its server of this group: it takes nothing more, and its connections may live on. */
  workerGone(index: number, key: string, generation: number): void {
    const open = this.find(key, generation);
    open?.takeOver(index);
    (open ?? this.ending(generation)?.group)?.lingering.add(index);
  }

  /** They have ended. */
  connectionsEnded(index: number, generation: number): void {
    for (const group of this.open.values())
      if (group.generation === generation) group.lingering.delete(index);
    this.ending(generation)?.connectionsEnded(index);
  }

  /** Worker `index` has no server of this group any more. */
  workerClosed(index: number, key: string, generation: number): void {
    this.find(key, generation)?.takeOver(index);
    this.ending(generation)?.workerClosed(index);
  }

  /** Nothing is heard of worker `index` any more: it has let go of its channel and its servers, or has ended. */
  workerLeft(index: number): void {
    for (const group of this.open.values()) group.lingering.delete(index);
    for (const closing of [...this.closing]) closing.workerLeft(index);
  }

  /** @param replaced there is another worker of that index already */
  workerExited(index: number, replaced: boolean): void {
    this.counts.workerLeft(index);
    this.workerLeft(index);
    if (!replaced) for (const group of this.open.values()) group.takeOver(index);
  }

  /** getConnections() of the server of a group; false where it is none, or where the origin's own count is all. */
  count(server: ServerInside, own: number, callback: (error: null, count: number) => void): boolean {
    const group = [...this.open.values()].find((candidate) => candidate.server === server);
    const tell = (index: number, id: number) => {
      const worker = this.pool.get(index);
      if (worker && group) this.pool.send(worker, { kind: 'count', key: group.key, id });
      return worker !== undefined;
    };
    return this.counts.askGroup(group?.ready ?? new Set(), own, tell, callback);
  }
}
