// SPDX-License-Identifier: Apache-2.0
import { markerName } from '../config/environment';
import type { ReadText } from './read';

/** Marker of a worker in the environment it was started with: core/index/workers/origin's pid/descriptor, or `ipc`. */
const WORKER = /^(\d+|none)\/\d+\/\d+\/(\d+)\/(?:\d+|ipc)$/;
const DEPTH = 32;

/** The marker in a process's first environment (proc(5): /proc/PID/environ is what execve was given); undefined: none. */
export function markerOf(pid: number, read: ReadText): string | undefined {
  const prefix = `${markerName}=`;
  const entry = read(`/proc/${pid}/environ`)
    ?.split('\0')
    .find((word) => word.startsWith(prefix));
  return entry?.slice(prefix.length);
}

/** Pid of the origin that started this worker; undefined: it is none. */
function originOf(pid: number, read: ReadText): number | undefined {
  const match = WORKER.exec(markerOf(pid, read) ?? '');
  return match ? Number(match[2]) : undefined;
}

function childrenOf(pid: number, read: ReadText): number[] {
  return (read(`/proc/${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number);
}

function parentOf(pid: number, read: ReadText): number {
  const match = /^PPid:\s*(\d+)/m.exec(read(`/proc/${pid}/status`) ?? '');
  return match ? Number(match[1]) : 0;
}

/**
 * Whether a program belongs to a tree although its environment does not say so (it was started with an environment of
 * its own): one of its ancestors was started as a worker, or has started one. Workers of a dead origin, which end within
 * milliseconds, are children of process 1 or of a subreaper (prctl(2)) until then, and say nothing about that one.
 */
export function insideTree(pid: number, read: ReadText): boolean {
  for (let at = parentOf(pid, read), depth = 0; at > 0 && depth < DEPTH; at = parentOf(at, read), depth++) {
    if (markerOf(at, read) !== undefined) return true;
    if (childrenOf(at, read).some((child) => originOf(child, read) === at)) return true;
  }
  return false;
}

/**
 * CPUs that workers of other apps on this host are pinned to, as far as this user may see them: two apps that each use
 * a part of the machine must not sit on the same cores.
 * @param pids all processes, by number
 * @param own the origin whose workers do not count
 */
export function takenCores(pids: readonly number[], read: ReadText, own?: number): Set<number> {
  const taken = new Set<number>();
  for (const pid of pids) {
    const match = WORKER.exec(markerOf(pid, read) ?? '');
    if (match && match[1] !== 'none' && Number(match[2]) !== own) taken.add(Number(match[1]));
  }
  return taken;
}
