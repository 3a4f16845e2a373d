// SPDX-License-Identifier: Apache-2.0
import type { ListenerGroup } from '../group/listener-group';
import type { OriginSignals } from '../signals/origin-signals';
import { CANARY } from '../workers/lifecycle';
import type { Multiplied } from './plan';

/**
 * Whether this group is one that the hook's own tests judge (TEST_GROUPS): nothing is forked for it. Where a worker has held
 * a descriptor its close() waits, as that of a multiplied app does, and the signals are watched.
 */
export function judged(
  group: ListenerGroup,
  { plan, signals }: { plan: Multiplied; signals: OriginSignals },
) {
  const { testGroups } = plan;
  if (testGroups === 'held') {
    group.holders.add(CANARY);
    signals.watch();
  }
  return testGroups !== undefined;
}
