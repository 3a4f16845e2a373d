// SPDX-License-Identifier: Apache-2.0
// The process's one cluster primary, made when its round robin first listens.
import type { Settings } from '../config/settings';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { State } from '../state';
import { type CopiesBefore, planCluster } from './plan';
import { ClusterPrimary } from './primary';

let primary: ClusterPrimary | undefined;
let refused: string | undefined;

/** The app has forked workers of its own, and its primary has listened for them. */
export function hasClusterGroups(): boolean {
  return primary !== undefined;
}

/** The process is about to bind this port. */
export function freeClusterPort(port: number): void {
  primary?.freePort(port);
}

/**
 * The round robin of the app's primary listens, on a handle that this process has bound.
 * @param live workers of the app
 * @param before copies of ours that the process has had
 * @param nextGeneration a number for a group that none of the process has had
 */
export function listenForWorkers(
  handle: TcpHandle,
  backlog: number,
  native: (backlog: number) => number,
  {
    settings,
    state,
    live,
    before,
    nextGeneration,
  }: {
    settings: Settings;
    state: State;
    live: number;
    before: CopiesBefore | undefined;
    nextGeneration: () => number;
  },
): number {
  state.reason ??= 'the app forks cluster workers of its own';
  let result: number | undefined;
  const once = (length: number) => {
    result ??= native(length);
    return result;
  };
  try {
    if (!primary && refused === undefined) {
      const plan = planCluster(settings, live, before);
      if (plan.reason !== undefined) refused = plan.reason;
      else primary = new ClusterPrimary(plan, nextGeneration);
    }
    if (primary) return primary.open(handle, backlog, once);
  } catch (error) {
    refused = (error as Error).message;
  }
  debug("the app's workers are left to round robin: %s", refused);
  return result ?? native(backlog);
}
