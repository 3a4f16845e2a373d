// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import { insideTree } from '../cpu/neighbours';
import { readText } from '../cpu/read';
import { originOnlyProgram } from '../group/steering';
import { type Addon, loadAddon } from '../native/addon';
import { layOut, layoutAgain, type Multiplied, type Single } from '../origin/plan';
import { seatCount } from './seats';

/** Why the app's own workers are served by the primary's round robin, as ever; undefined where nothing speaks for it. */
export function roundRobinReason({ workers }: Pick<Settings, 'workers'>): string | undefined {
  if (workers.kind === 'count' && workers.n === 1) return 'one worker is asked for (FASTSOCKET_WORKERS=1)';
  return undefined;
}

/**
 * How the app's own workers are served: how many sockets a group has, and the CPU of each worker by its number.
 * @param live workers of the app now
 * @param multiplied the process has had copies of ours: the balancing thread is theirs
 */
export function planCluster(settings: Settings, live: number, multiplied: boolean): Multiplied | Single {
  const reason = roundRobinReason(settings);
  if (reason !== undefined) return { reason, quiet: true };
  const { addon, reason: missing } = loadAddon();
  if (!addon) return { reason: missing ?? 'the addon could not be loaded', quiet: true };
  if (insideTree(process.pid, readText))
    return { reason: 'started by a program that fastsocket has multiplied already', quiet: true };
  return planWith(addon, settings, live, multiplied);
}

function planWith(addon: Addon, settings: Settings, live: number, multiplied: boolean): Multiplied {
  const affinity = addon.getAffinity(0);
  const mask = typeof affinity === 'number' ? [] : affinity;
  const usual = layOut(settings, mask);
  const layout =
    live <= usual.workers ? usual : layOut({ ...settings, workers: { kind: 'count', n: live } }, mask);
  const { cores, places } = layout;
  return {
    addon,
    workers: seatCount(live, mask.length),
    cores,
    places,
    mask,
    layOutAgain: layoutAgain(settings, layout.workers),
    steer: settings.steer,
    balance: multiplied ? [] : settings.balance,
    exitWaitMs: settings.exitWaitMs,
    originOnly: originOnlyProgram(),
    originStartMs: 0,
  };
}
