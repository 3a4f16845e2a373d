// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import type { Settings } from '../config/settings';
import type { ListenerGroup } from '../group/listener-group';
import type { Refusal } from '../group/refusal';
import { originOnlyProgram } from '../group/steering';
import type { TcpHandle } from '../hook/tcp';
import { type ChangedUser, refusedAs } from './changed-user';
import { dropAllLateSockets, type Listening, makeAllLateSockets, openLateGroups } from './late-groups';
import type { FirstListen } from './later';
import { type Multiplied, makePlan } from './plan';

export interface LatePlanOptions {
  first: FirstListen;
  settings: Settings;
  birth: Birth;
  user: Pick<ChangedUser, 'now'>;
  nextGeneration(): number;
}

/**
 * How an app that listens alone is to be multiplied, and its servers as groups. The sockets come first: a plan takes longer,
 * and may be in vain.
 * @returns or why that cannot be; nothing has changed then
 */
export function makeLatePlan(
  workers: number,
  listening: ReadonlyMap<TcpHandle, Listening>,
  { first, settings, birth, user, nextGeneration }: LatePlanOptions,
  makePlanNow = makePlan,
): { plan: Multiplied; groups: ListenerGroup[] } | Refusal {
  const late = { addon: first.addon, workers, originOnly: originOnlyProgram() };
  const sockets = makeAllLateSockets(late, listening);
  if ('why' in sockets) return refusedAs(sockets, user);
  const plan = makePlanNow(settings, birth, { first, workers });
  if (plan.reason !== undefined) {
    dropAllLateSockets(first.addon, sockets);
    return { why: plan.reason, lasts: true };
  }
  const groups = openLateGroups(late, listening, sockets, nextGeneration);
  return Array.isArray(groups) ? { plan, groups } : groups;
}
