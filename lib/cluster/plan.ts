// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import { perCpu } from '../cpu/count';
import { Cpus } from '../cpu/cpus';
import { LimitsNow } from '../cpu/limits-now';
import { insideTree } from '../cpu/neighbours';
import { readText } from '../cpu/read';
import { originOnlyProgram } from '../group/steering';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { loadAddon } from '../native/load';
import { type Layout, layOut, type Multiplied, pinPlaces, type Single } from '../origin/plan';
import { MOST_SEATS, seatCount } from './seats';

/** Why the app's own workers are served by the primary's round robin, as ever; undefined where nothing speaks for it. */
export function roundRobinReason({ workers }: Pick<Settings, 'workers'>): string | undefined {
  if (workers.kind === 'count' && workers.n === 1) return 'one worker is asked for (FASTSOCKET_WORKERS=1)';
  return undefined;
}

/** Copies that the process has had, and which may live on for a while. */
export interface CopiesBefore {
  /** The highest number of one. */
  workers: number;
}

export interface ClusterPlan extends Multiplied {
  /** The first number of a worker: those below are, or have been, copies' in the balancing. */
  first: number;
}

/**
 * How the app's own workers are served: how many sockets a group has, and which CPUs there are for them.
 * @param live workers of the app now
 */
export function planCluster(
  settings: Settings,
  live: number,
  before: CopiesBefore | undefined,
): ClusterPlan | Single {
  const reason = roundRobinReason(settings);
  if (reason !== undefined) return { reason, quiet: true };
  const { addon, reason: missing } = loadAddon();
  if (!addon) return { reason: missing ?? 'the addon could not be loaded', quiet: true };
  if (insideTree(process.pid, readText))
    return { reason: 'started by a program that fastsocket has multiplied already', quiet: true };
  return planWith(addon, settings, live, before?.workers ?? 0);
}

function planWith(addon: Addon, settings: Settings, live: number, copies: number): ClusterPlan {
  const affinity = addon.getAffinity(0);
  const mask = typeof affinity === 'number' ? [] : affinity;
  if (typeof affinity === 'number')
    debug('not pinned: the CPUs are not known: sched_getaffinity fails (errno %d)', -affinity);
  const layout = layOutFor(settings, live, mask);
  const limits = new LimitsNow(layout.limits?.above);
  const workers = Math.min(MOST_SEATS, copies + seatCount(live, mask.length));
  const cpus = new Cpus(pinPlaces(layout), workers);
  return {
    addon,
    workers,
    cpus,
    first: copies + 1,
    places: { ...layout.places, nodes: cpus.nodes },
    mask,
    quotaCpus: layout.limits?.cpus,
    limits: () => limits.now(),
    layOutAgain: (now, before, found) =>
      layOutAgain(settings, now, before, (some, cpus, had) => layOut(some, cpus, had, undefined, found)),
    steer: settings.steer,
    balance: settings.balance,
    exitWaitMs: settings.exitWaitMs,
    originOnly: originOnlyProgram(),
    originRssBytes: undefined,
    originStartMs: 0,
  };
}

/**
 * As many workers as there would be copies have CPUs, and more where there are more: the app forks as it likes, and a number
 * of copies that somebody asks for says nothing of that.
 */
function layOutFor(
  settings: Settings,
  live: number,
  mask: readonly number[],
  before?: readonly (number | undefined)[],
  layOutNow = layOut,
): Layout {
  const usual = layOutNow({ ...settings, workers: { kind: 'auto' } }, mask, before);
  if (live <= usual.workers) return usual;
  const forked = { kind: 'found', n: live, why: 'that the app has forked' } as const;
  return layOutNow({ ...settings, workers: forked }, mask, before);
}

/**
 * For the workers that there are now, other than where an app is multiplied: it may have forked, and they may have ended.
 * While it replaces them there are more than CPUs: as many as have had one have one again, if they can, and the others
 * wait until these end, as they would have done without the change. Where `before` says that nobody has had one, nobody is
 * pinned while there are more than CPUs.
 */
export function layOutAgain(
  settings: Settings,
  mask: readonly number[],
  before: readonly (number | undefined)[],
  layOutNow = layOut,
): Layout {
  const live = before.length - 1;
  const had = before.filter((cpu) => cpu !== undefined);
  const layOutSome = (workers: number) => layOutFor(settings, workers, mask, [undefined, ...had], layOutNow);
  const all = layOutSome(live);
  const waiting = had.length > 0 && had.length < live;
  const layout = all.unpinned !== undefined && waiting ? layOutSome(had.length) : all;
  const { places } = layout;
  return { ...layout, places: { ...places, perCpu: perCpu(live, places.usable) } };
}
