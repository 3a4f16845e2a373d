// SPDX-License-Identifier: Apache-2.0
// What the addon knows of processes, as far as /proc tells it to JavaScript.
import { parseCpuList } from '../config/cpulist';
import { type ReadText, readText } from '../cpu/read';
import type { SignalAddon } from '../signals/origin-signals';

const LOOK_MS = 5;
/** How long the kernel may take to end a process after SIGKILL: the port is free then. */
const KILLED_MS = 200;
/** As the addon's disposition() says it. */
const IGNORED = 1;

function statusField(pid: number | 'self', field: string, read: ReadText): string | undefined {
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(read(`/proc/${pid}/status`) ?? '')?.[1];
}

/** The CPUs that the main thread of a process may run on (proc(5), Cpus_allowed_list); empty where /proc is hidden. */
export function affinityOf(pid: number | 'self', read: ReadText = readText): number[] {
  return parseCpuList(statusField(pid, 'Cpus_allowed_list', read) ?? '') ?? [];
}

/** True where this process ignores the signal (proc(5), SigIgn: a bit for each signal, bit 0 for signal 1). */
export function ignored(signal: number, read: ReadText = readText): boolean {
  const mask = statusField('self', 'SigIgn', read)?.trim() ?? '';
  return /^[0-9a-f]+$/i.test(mask) && ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

/** True for a process that has not ended; a zombie has. */
export function alive(pid: number, read: ReadText = readText): boolean {
  const state = statusField(pid, 'State', read);
  return state !== undefined && !/^[ZX]/.test(state);
}

/** Blocks until all of these processes have ended, `ms` at most. Returns how many have not. */
export function waitGone(ms: number, pids: readonly number[]): number {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const end = performance.now() + ms;
  for (;;) {
    const left = pids.filter((pid) => alive(pid)).length;
    if (left === 0 || performance.now() >= end) return left;
    Atomics.wait(pause, 0, 0, LOOK_MS);
  }
}

/** A process that is another user's by now goes when its channel ends. */
function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ESRCH, or EPERM: this process has changed its user
  }
}

/** The part of the addon that the origin's signals lean on, in JavaScript: no death can be prepared for here. */
export function signalFace(): SignalAddon {
  let workers: readonly number[] = [];
  return {
    disposition: (signal) => (ignored(signal) ? IGNORED : 0),
    guard: (_signals, _sockets, pids) => {
      workers = pids;
      return 0;
    },
    shutAll: () => {
      for (const pid of workers) if (alive(pid)) end(pid);
      waitGone(KILLED_MS, workers);
      return 0;
    },
    waitGone,
  };
}
