// SPDX-License-Identifier: Apache-2.0
// Bundled to core.cjs: everything but the preload.
import { setMarker } from './config/environment';
import { parseSettings } from './config/settings';
import { loadTcp, useTcp } from './hook/tcp';
import { debug, say } from './log';
import { loadAddon } from './native/addon';
import { Origin } from './origin/origin';
import { Tree } from './origin/tree';
import type { Preload } from './preload';
import { OriginSignals } from './signals/origin-signals';
import type { State } from './state';
import { Worker } from './worker/worker';

/** core/index/workers/fd: how the origin marks a worker that it starts. */
const WORKER_MARK = /^(\d+|none)\/\d+\/(\d+)\/(\d+)$/;

/** At the first listen() on a fixed port of a program that may be multiplied. */
export function startOrigin(preload: Preload): void {
  const { state, birth, tcp } = preload;
  useTcp(tcp);
  const parsed = parseSettings(birth.env);
  if (parsed.error !== undefined) {
    state.reason = parsed.error;
    say(parsed.error);
    return;
  }
  for (const warning of parsed.warnings) say(warning);
  const origin = new Origin(preload, parsed.settings, (plan, clusterLoaded) => {
    const signals = new OriginSignals();
    preload.signalled = (signal) => signals.received(signal);
    const tree = new Tree({ plan, clusterLoaded, state, birth, markOrigin: () => setMarker('origin'), signals });
    state.workers = () => tree.liveWorkers();
    return tree;
  });
  origin.install();
}

/** A copy that the origin has forked: the control socket leads to our parent, or the marker is not believed. */
export function startWorker(state: State, mark: string): boolean {
  const match = WORKER_MARK.exec(mark);
  if (!match) return false;
  const [, core, count, fd] = match as unknown as [string, string, string, string];
  const { addon } = loadAddon();
  const control = Number(fd);
  if (!addon || !process.connected || addon.peerPid(control) !== process.ppid) {
    debug('marked %s, but descriptor %d does not lead to the parent', mark, control);
    return false;
  }
  setMarker(core);
  const tcp = loadTcp();
  const wanted = core === 'none' ? undefined : Number(core);
  const pinned = (cpu: number) => { state.core = cpu; };
  new Worker({ addon, tcp, control, core: wanted, pinned }).install();
  state.role = 'worker';
  state.active = true;
  state.workers = () => Number(count);
  return true;
}

/** In a thread of a pinned worker: threads inherit the mask of the thread that starts them. */
export function restoreThread(): void {
  loadAddon().addon?.restoreThread();
}
