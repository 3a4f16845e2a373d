// SPDX-License-Identifier: Apache-2.0
// CPU time of process trees and of the machine, from proc(5).
import { readdirSync, readFileSync } from 'node:fs';

/** A clock tick of /proc: USER_HZ is 100 on every architecture that Node has Linux binaries for (include/asm-generic/param.h). */
const TICK_MS = 10;

export interface ProcessStat {
  pid: number;
  parent: number;
  /** utime + stime of all threads, in milliseconds, to 10 ms. */
  cpuMs: number;
}

/** A line of /proc/PID/stat; undefined where it is none. The command is in parentheses and may contain anything. */
export function parseStat(text: string): ProcessStat | undefined {
  const end = text.lastIndexOf(')');
  if (end < 0) return undefined;
  const pid = Number.parseInt(text, 10);
  // from field 3 (state) on: ppid is field 4, utime 14, stime 15
  const fields = text.slice(end + 2).split(' ');
  const cpuMs = (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  const parent = Number(fields[1]);
  return Number.isNaN(pid + parent + cpuMs) ? undefined : { pid, parent, cpuMs };
}

function readStat(pid: string): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined; // it has ended meanwhile
  }
}

/** `root` and all its descendants among `all`. */
export function descendants(all: readonly ProcessStat[], root: number): ProcessStat[] {
  const found = all.filter(({ pid }) => pid === root);
  for (const { pid } of found) found.push(...all.filter(({ parent }) => parent === pid));
  return found;
}

/** CPU time in milliseconds of `root` and each of its descendants, by pid. */
export function treeCpu(root: number): Map<number, number> {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(readStat)
    .filter((stat) => stat !== undefined);
  return new Map(descendants(all, root).map(({ pid, cpuMs }) => [pid, cpuMs]));
}

/** What each process of `after` has used since `before`. A process that ended in between is not in it. */
export function cpuSince(
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
): Map<number, number> {
  return new Map([...after].map(([pid, ms]) => [pid, ms - (before.get(pid) ?? 0)]));
}

/**
 * CPU time of everything that ran on this machine or was taken from it by its host, in milliseconds: user, nice, system
 * and steal. Interrupts are left out: they are also the work of the measured servers.
 * @param cpu the number of the only CPU to look at
 */
export function parseMachineCpu(text: string, cpu: number | '' = ''): number {
  const line = new RegExp(`^cpu${cpu} +(.*)$`, 'm').exec(text)?.[1] ?? '';
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = line.split(' ').map(Number);
  return (user + nice + system + steal) * TICK_MS;
}

export function machineCpu(cpu?: number): number {
  return parseMachineCpu(readFileSync('/proc/stat', 'utf8'), cpu);
}

/**
 * How long all CPUs together have been idle or waiting for a disk, in milliseconds. What they have used is sampled by ticks,
 * and misses what timers start; idle time is measured by the clock where ticks stop with it (get_idle_time() in
 * fs/proc/stat.c). What is left of a time is interrupts, too.
 */
export function parseIdle(text: string): { cpus: number; idleMs: number } {
  const [, , , idle = 0, iowait = 0] = (/^cpu +(.*)$/m.exec(text)?.[1] ?? '').split(' ').map(Number);
  return { cpus: text.match(/^cpu\d/gm)?.length ?? 0, idleMs: (idle + iowait) * TICK_MS };
}

/** A function that says how much CPU time the whole machine has used meanwhile, in milliseconds. */
export function busySince(): () => number {
  const look = () => ({ at: performance.now(), ...parseIdle(readFileSync('/proc/stat', 'utf8')) });
  const before = look();
  return () => {
    const { at, cpus, idleMs } = look();
    return cpus * (at - before.at) - (idleMs - before.idleMs);
  };
}

/** A process and its children that live. */
function withChildren(pid: number): number[] {
  return [pid, ...readText(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)];
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended meanwhile
  }
}

/**
 * CPU time, user and system, of all threads of a process and of its children that live, in nanoseconds: finer than
 * /proc/PID/stat, which counts ticks (Documentation/scheduler/sched-stats.rst).
 * @param name of those threads alone that are called so
 */
export function cpuNs(pid: number, name?: string): number {
  let sum = 0;
  for (const process of withChildren(pid))
    for (const thread of readdirSync(`/proc/${process}/task`)) {
      const folder = `/proc/${process}/task/${thread}`;
      if (name === undefined || readText(`${folder}/comm`).trim() === name)
        sum += Number(readText(`${folder}/schedstat`).split(' ')[0]);
    }
  return sum;
}

/** Whether a process of this id exists and is no zombie. */
export function alive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Descriptors: the hard limit of this process, and of all that it starts. */
export function mostFds(): number {
  const [, hard] = /^Max open files +\S+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return hard === undefined ? Number.MAX_SAFE_INTEGER : Number(hard);
}
