// SPDX-License-Identifier: Apache-2.0
// Bundled to core.cjs: everything but the preload.
import type { Cluster } from 'node:cluster';
import { askForSocket } from './cluster/member';
import { listenForWorkers } from './cluster/start';
import { initialSettings, setMarker, snapshotEnvironment } from './config/environment';
import { DEFAULT_SETTINGS, parseSettings, type Settings } from './config/settings';
import { listDestinations } from './connect/destinations';
import { logDestinations } from './connect/log';
import { portShare } from './connect/port-share';
import { type Marked, readMark } from './fallback/mark';
import { FallbackOrigin } from './fallback/origin';
import { FallbackTree } from './fallback/tree';
import { FallbackWorker } from './fallback/worker';
import type { FauxHandle } from './hook/cluster';
import { loadTcp, type ServerInside, type TcpHandle, useTcp } from './hook/tcp';
import { debug, say } from './log';
import type { Addon } from './native/addon';
import { loadAddon } from './native/load';
import { isRefusal } from './native/refusals';
import { ownWorkers } from './origin/eligible';
import { Origin } from './origin/origin';
import { Tree } from './origin/tree';
import type { Preload } from './preload';
import { backlogFor } from './seam/backlog';
import { attachSeam } from './seam/seam';
import { OriginSignals } from './signals/origin-signals';
import type { State } from './state';
import { Worker } from './worker/worker';

/** core/index/workers/origin's pid/fd: how the origin marks a worker that it starts. */
const WORKER_MARK = /^(\d+|none)\/(\d+)\/(\d+)\/(\d+)\/(\d+)$/;

/** When the first listen() on a fixed port binds, in a program that may be multiplied. */
export function startOrigin(preload: Preload): void {
  const { state, birth, tcp } = preload;
  useTcp(tcp);
  const parsed = parseSettings(birth.env);
  if (parsed.error !== undefined) {
    state.reason = parsed.error;
    sayOnce(parsed.error);
    return;
  }
  for (const warning of parsed.warnings) say(warning);
  const { addon, reason } = loadAddon();
  if (!addon) return startFallbackOrigin(preload, parsed.settings, reason ?? 'it could not be loaded');
  attachSeam(addon, parsed.settings);
  const origin = new Origin(preload, parsed.settings, (plan, clusterLoaded, attempts) => {
    const tree = new Tree({
      plan,
      clusterLoaded,
      state,
      birth,
      markOrigin,
      signals: relayedSignals(preload),
      attempts,
      user: preload.user,
      sharables: preload.sharables,
      earlyConnects: preload.earlyConnects,
    });
    state.workers = () => tree.liveWorkers();
    return tree;
  });
  origin.install();
}

function startFallbackOrigin(preload: Preload, settings: Settings, missing: string): void {
  const { state, birth } = preload;
  const origin = new FallbackOrigin(preload, settings, missing, (plan, clusterLoaded, attempts) => {
    const signals = relayedSignals(preload);
    const tree = new FallbackTree({
      plan,
      clusterLoaded,
      state,
      birth,
      markOrigin,
      signals,
      attempts,
      user: preload.user,
      earlyConnects: preload.earlyConnects,
    });
    state.workers = () => tree.liveWorkers();
    return tree;
  });
  origin.install();
}

const markOrigin = () => setMarker('origin');

function relayedSignals(preload: Preload): OriginSignals {
  const signals = new OriginSignals();
  preload.signalled = (signal) => signals.received(signal);
  return signals;
}

/** A copy that the origin has forked: the control socket leads to our parent, or the marker is not believed. */
export function startWorker(state: State, mark: string): boolean {
  const fallback = readMark(mark);
  if (fallback) return startFallbackWorker(state, fallback);
  const match = WORKER_MARK.exec(mark);
  if (!match) return false;
  const [core, index, count, named, fd] = match.slice(1) as [string, string, string, string, string];
  const { addon } = loadAddon();
  const control = Number(fd);
  const origin = addon ? originOf(addon, control, Number(named)) : -1;
  if (!addon || !process.connected || !isParent(origin, Number(named))) {
    // The origin's death has not ended us (a program with capabilities of its own loses that signal at its exec): an
    // orphan must not become an app of its own.
    if (origin > 0 && hasEnded(origin)) process.exit(0);
    debug('marked %s, but descriptor %d does not lead to the parent', mark, control);
    return false;
  }
  setMarker(core);
  const tcp = loadTcp();
  const wanted = core === 'none' ? undefined : Number(core);
  const pinned = (cpu: number | undefined) => {
    state.core = cpu;
    setMarker(cpu === undefined ? 'none' : String(cpu));
  };
  const counted = (workers: number) => {
    state.workers = () => workers;
  };
  const { settings = DEFAULT_SETTINGS } = parseSettings(snapshotEnvironment());
  counted(Number(count));
  new Worker({
    addon,
    tcp,
    control,
    index: Number(index),
    core: wanted,
    pinned,
    counted,
    settings,
    ports: portShare(Number(count), Number(index)),
  }).install();
  state.role = 'worker';
  state.active = true;
  state.destinations = destinations;
  return true;
}

/** Who is at the other end of the control socket; where the kernel does not tell, whom the marker names. */
function originOf(addon: Addon, control: number, named: number): number {
  const peer = addon.peerPid(control);
  if (!isRefusal(peer)) return peer;
  debug('the parent is taken at its word: getsockopt(SO_PEERCRED) fails (errno %d)', -peer);
  return named;
}

/**
 * Where the kernel does not tell, the marker is to name the same one: getppid() cannot fail, but for a seccomp profile, whose
 * error libc passes on as it is.
 */
function isParent(origin: number, named: number): boolean {
  const parent = process.ppid;
  if (parent >= 0) return origin === parent;
  debug('the parent is taken at its word: getppid fails (errno %d)', -parent);
  return origin === named;
}

function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function startFallbackWorker(state: State, { core, workers, asked }: Marked): boolean {
  // believed only where Node itself has made this process a cluster worker with a channel
  if (!process.connected || !(require('node:cluster') as Cluster).isWorker) return false;
  setMarker(core);
  state.core = FallbackWorker.pinnedTo(core === 'none' ? undefined : Number(core));
  new FallbackWorker(loadTcp(), asked).install();
  state.role = 'worker';
  state.active = true;
  state.workers = () => workers;
  return true;
}

/**
 * A server that is not multiplied is about to listen.
 * @param own it has bound the socket itself
 * @returns the backlog to listen with, where that is another than the app's
 */
export function startSeam(
  fd: number,
  own: boolean,
  backlog: { asked: number; named: unknown },
): number | undefined {
  const { addon } = loadAddon();
  const { settings } = parseSettings(initialSettings());
  if (!addon || !settings) return undefined;
  if (attachSeam(addon, settings) === undefined && own) addon.seamOwn(fd);
  return backlogFor(backlog.asked, backlog.named, settings);
}

/** Of listener groups, where the process makes none but for the app's own workers. */
let generation = 0;

/** The round robin of the app's own cluster workers listens, in a process whose app has not listened on a fixed port. */
export function listenForCluster(
  { birth, state, tcp }: Preload,
  handle: TcpHandle,
  backlog: number,
  native: (backlog: number) => number,
): number {
  const { settings } = parseSettings(birth.env);
  if (!settings) return native(backlog);
  useTcp(tcp);
  return listenForWorkers(handle, backlog, native, {
    settings,
    state,
    live: ownWorkers(),
    before: undefined,
    nextGeneration: () => ++generation,
  });
}

/** In a worker that the app has forked. */
export function listensInCluster(state: State, server: ServerInside, faux: FauxHandle): void {
  askForSocket(state, server, faux);
}

let said: string | undefined;

/** A bad value is met when the process connects, and when it listens. */
function sayOnce(error: string): void {
  if (said === error) return;
  said = error;
  say(error);
}

/** This process, or this thread, is about to make its first connection. */
export function startConnects(): void {
  const { addon, reason } = loadAddon();
  const { settings, error } = parseSettings(initialSettings());
  if (!addon) return debug("source ports are the kernel's: %s", reason);
  if (error !== undefined) sayOnce(error);
  if (settings && attachSeam(addon, settings) === undefined) logDestinations(addon, true);
}

/** Where this thread's connections go to. */
export function destinations(): readonly object[] {
  const { addon } = loadAddon();
  return addon ? listDestinations(addon) : [];
}

/** In a thread of a pinned worker: threads inherit the mask of the thread that starts them. */
export function restoreThread(): void {
  loadAddon().addon?.restoreThread();
}
