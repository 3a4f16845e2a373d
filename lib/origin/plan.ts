// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import type { Settings } from '../config/settings';
import { type Limits, readLimits } from '../cpu/cgroup';
import { assign, type CountInput, type WorkerCount, workerCount } from '../cpu/count';
import { Cpus, type PinPlace } from '../cpu/cpus';
import { LimitsNow } from '../cpu/limits-now';
import { insideTree, takenCores } from '../cpu/neighbours';
import { coreOrder } from '../cpu/order';
import { readText } from '../cpu/read';
import { followsLimits, roomFor } from '../cpu/room';
import { readTopology } from '../cpu/topology';
import type { Places } from '../group/balancer';
import { originOnlyProgram } from '../group/steering';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { loadAddon } from '../native/load';
import { singleProcessFlag } from '../workers/inspect';
import { type FirstListen, mayHaveMore } from './later';
import { testRun } from './program-reason';
import { testFacts, testSign } from './test-run';

/** How the app is to be multiplied. */
export interface Multiplied {
  reason?: undefined;
  addon: Addon;
  /** The highest number that a worker has, or had: with more room there are more. */
  workers: number;
  /** The CPU of each worker. */
  cpus: Cpus;
  places: Places;
  /** CPUs that this process could use when that was decided. */
  mask: readonly number[];
  /** The quota then, in CPUs. */
  quotaCpus: number | undefined;
  /** As they are now, where that can be told. */
  limits(): Limits | undefined;
  /** How many workers there is room for now; undefined: there are as many as there are. */
  room?: ((mask: readonly number[], limits: Limits) => number) | undefined;
  /** The same for other CPUs; `before`: CPU of each worker until now, from 1, one after the other. */
  layOutAgain(mask: readonly number[], before: readonly (number | undefined)[], limits: Limits): Layout;
  steer: Settings['steer'];
  balance: Settings['balance'];
  exitWaitMs: number;
  /** No copy is started: see Settings. */
  testGroups?: Settings['testGroups'];
  originOnly: Uint8Array;
  /** Its size then, where that is known. */
  originRssBytes: number | undefined;
  /** From the start of the process to now, its first listen(). */
  originStartMs: number;
}

/** Why the app stays one process. */
export interface Single {
  reason: string;
  /** No fault: not worth a line on stderr. */
  quiet: boolean;
  addon?: undefined;
  /** There was room for one worker only, which may change. */
  first?: FirstListen | undefined;
}

export type Plan = Multiplied | Single;

/** Where the app leaves CPUs free, it takes those that no other app's workers are pinned to. */
function otherApps({ pin }: CountInput['settings'], { count, cpus }: WorkerCount): Set<number> {
  if (count >= cpus.length || pin.kind !== 'auto') return new Set();
  const { readdirSync } = require('node:fs') as typeof import('node:fs');
  try {
    return takenCores(
      readdirSync('/proc')
        .map(Number)
        .filter((pid) => pid > 0),
      readText,
      process.pid,
    );
  } catch {
    return new Set();
  }
}

/** Reasons to stay one process that do not depend on the addon. */
export function singleReason(settings: Settings, birth: Birth): string | undefined {
  const flag = singleProcessFlag(birth.execArgv, birth.env['NODE_OPTIONS']);
  if (flag !== undefined && !settings.workersSet)
    return `${flag} means one process unless FASTSOCKET_WORKERS is set`;
  // Node's own tests are judged all the same
  const sign = settings.testGroups ? undefined : testSign(testFacts(birth.env, readText));
  if (sign !== undefined) return `${testRun(settings.workersSet)}: ${sign}`;
  if (insideTree(process.pid, readText)) return 'started by a program that fastsocket has multiplied already';
  return undefined;
}

/** How many workers, and the CPU of each; fewer than two workers mean that the app stays one process. */
export interface Layout {
  workers: number;
  /** By index from 1; undefined where a worker is not pinned. */
  cores: (number | undefined)[];
  places: Places;
  /** Why none of them is pinned. */
  unpinned: string | undefined;
  /** The limits by which that was decided. */
  limits?: Limits;
  /** The arithmetic, one line. */
  why: string;
}

/** Size of this process, undefined where there is no /proc (libuv: src/unix/linux.c, uv_resident_set_memory). */
function residentBytes(): number | undefined {
  try {
    return process.memoryUsage.rss();
  } catch {
    return undefined;
  }
}

/**
 * @param mask the CPUs this process may run on
 * @param before CPU of each worker until now, by index: whoever can keep its own does
 * @param originRssBytes the app's size
 * @param limits as they are now
 */
export function layOut(
  settings: CountInput['settings'],
  mask: readonly number[],
  before: readonly (number | undefined)[] = [],
  originRssBytes = residentBytes(),
  limits = readLimits(readText),
): Layout {
  const counted = workerCount({
    settings,
    mask,
    quotaCpus: limits.cpus,
    memoryBytes: limits.memoryBytes,
    originRssBytes,
  });
  debug('%s (%s)', counted.why, limits.detail);
  const topology = readTopology(readText, counted.cpus);
  const order = coreOrder(topology, counted.cpus);
  const seats = assign(counted, order, otherApps(settings, counted), before);
  const cores = [undefined, ...seats.map(({ cpu }) => cpu)];
  const nodes = cores.map((cpu) => (cpu === undefined ? undefined : topology.get(cpu)?.node));
  const cpus = Math.max(1, Math.min(counted.count, counted.cpus.length));
  return {
    workers: counted.count,
    cores,
    places: { nodes, cpus, usable: counted.cpus.length, perCpu: counted.perCpu },
    unpinned: counted.unpinned,
    limits,
    why: counted.why,
  };
}

/** The CPUs of a layout for those that are to have one, the first first. */
export function pinPlaces({ cores, places }: Pick<Layout, 'cores' | 'places'>): PinPlace[] {
  return cores.flatMap((cpu, index) => (cpu === undefined ? [] : { cpu, node: places.nodes[index] }));
}

/** The layout of as many workers as there are, on other CPUs. */
function layoutAgain(settings: Settings): Multiplied['layOutAgain'] {
  return (mask, before, limits) =>
    layOut(
      { ...settings, workers: { kind: 'found', n: before.length - 1, why: 'that there are to be' } },
      mask,
      before,
      undefined,
      limits,
    );
}

function limitsFrom({ limits }: Layout): Multiplied['limits'] {
  const now = new LimitsNow(limits?.above);
  return () => now.now();
}

/** How many workers there is room for, for an app that was of this size. */
function roomOf(settings: Settings, originRssBytes: number | undefined): Multiplied['room'] {
  if (!followsLimits(settings) || settings.testGroups) return undefined;
  return (mask, { cpus, memoryBytes }) =>
    roomFor({ settings, mask, quotaCpus: cpus, memoryBytes, originRssBytes });
}

/**
 * Made at the first listen() that could be multiplied.
 * @param late how it was then, where there was room for one worker only, and how many there is room for now
 */
export function makePlan(
  settings: Settings,
  birth: Birth,
  late?: { first: FirstListen; workers: number },
): Plan {
  const single = singleReason(settings, birth);
  if (single !== undefined) return { reason: single, quiet: true };
  const { addon, reason } = loadAddon();
  if (!addon) return { reason: reason ?? 'the addon could not be loaded', quiet: false };
  const affinity = addon.getAffinity(0);
  if (typeof affinity === 'number') {
    const unknown = `the CPUs it may run on are not known: sched_getaffinity fails (errno ${-affinity})`;
    if (settings.workers.kind !== 'count') return { reason: unknown, quiet: false };
    debug('not pinned: %s', unknown);
  }
  const { testGroups } = settings;
  const mask = typeof affinity === 'number' ? [] : affinity;
  const first = late?.first;
  const size = first ? first.originRssBytes : residentBytes();
  const originStartMs = first?.originStartMs ?? process.uptime() * 1000;
  const room = roomOf(settings, size);
  const found = late && ({ kind: 'found', n: late.workers, why: 'that there is room for now' } as const);
  const wanted = found ? { ...settings, workers: found } : settings;
  const layout = layOut(wanted, mask, [], size, first?.limits());
  const { workers, why } = layout;
  const limits = first?.limits ?? limitsFrom(layout);
  if (workers < 2 && !testGroups) {
    const again = {
      addon,
      originRssBytes: size,
      rssBytes: residentBytes,
      originStartMs,
      limits,
    };
    const later = room && mayHaveMore() ? { ...again, room } : undefined;
    return { reason: `one worker is no gain (${why})`, quiet: true, first: later };
  }
  const cpus = new Cpus(pinPlaces(layout), workers);
  for (let index = 1; index <= workers; index++) cpus.take(index);
  return {
    addon,
    workers: testGroups ? 1 : workers,
    cpus,
    places: { ...layout.places, nodes: cpus.nodes },
    mask,
    quotaCpus: layout.limits?.cpus,
    limits,
    room,
    layOutAgain: layoutAgain(settings),
    steer: settings.steer,
    balance: settings.balance,
    exitWaitMs: settings.exitWaitMs,
    testGroups,
    originOnly: originOnlyProgram(),
    originRssBytes: size,
    originStartMs,
  };
}
