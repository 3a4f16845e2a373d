// SPDX-License-Identifier: Apache-2.0
import type { Member } from '../workers/crew';
import type { GroupView } from '../workers/lifecycle';

/**
 * A worker has come to listen wherever it is to, as far as can be seen: what it opens now is its own. One that listens on a
 * first port and looks for a free one as its second (portfinder tries each address of the machine) is not there yet.
 * Asked whenever a worker has come to listen somewhere: once it has started it has, also when it closes a server again (a reload).
 * @param canary it is the first copy, which is to listen wherever the origin does; of others it is wherever some copy does
 */
export function hasStarted(
  member: Pick<Member, 'index' | 'servedAt' | 'started'>,
  groups: Iterable<GroupView>,
  canary: boolean,
): boolean {
  member.started ||= listensEverywhere(member, groups, canary);
  return member.started;
}

function listensEverywhere(
  { index, servedAt }: Pick<Member, 'index' | 'servedAt'>,
  groups: Iterable<GroupView>,
  canary: boolean,
): boolean {
  if (servedAt === undefined) return false;
  for (const { openedAt, ready } of groups) {
    // one that was opened later may be of a moment (a passive port of FTP), and not for all
    if (openedAt <= servedAt && !ready.has(index) && (canary || ready.size > 0)) return false;
  }
  return true;
}
