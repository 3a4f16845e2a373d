// SPDX-License-Identifier: Apache-2.0
import type { Member } from '../workers/crew';
import type { GroupView } from '../workers/lifecycle';

/**
 * Which workers have come to listen wherever they are to, as far as can be seen: what such a one opens now is its own. One that
 * listens on a first port and looks for a free one as its second (portfinder tries each address of the machine) is not there yet.
 */
export class Started {
  /** Where some copy has come to listen. */
  private readonly reached = new Set<string>();

  /** @param canary there is the first copy alone, which is to listen wherever the origin does */
  constructor(private readonly hooks: { groups(): Iterable<GroupView>; canary(): boolean }) {}

  /**
   * Whether it has started. To be asked whenever a worker has come to listen somewhere, too: once it has started it has, also
   * when it closes a server again (a reload).
   */
  judge(member: Pick<Member, 'index' | 'servedAt' | 'started'>): boolean {
    for (const { key, ready } of this.hooks.groups()) if (ready.size > 0) this.reached.add(key);
    member.started ||= this.listensEverywhere(member);
    return member.started;
  }

  private listensEverywhere({ index, servedAt }: Pick<Member, 'index' | 'servedAt'>): boolean {
    if (servedAt === undefined) return false;
    for (const { key, openedAt, ready } of this.hooks.groups()) {
      // one that was opened later may be of a moment (a passive port of FTP), and not for all
      if (openedAt > servedAt || ready.has(index)) continue;
      if (this.hooks.canary() || this.reached.has(key)) return false;
    }
    return true;
  }
}
