// SPDX-License-Identifier: Apache-2.0
// What the kernel says: of sockets by ss(8), of processes by proc(5).
import { readdirSync, readFileSync } from 'node:fs';
import { clientWords, type Place } from '../lib/place';
import { runProgram } from '../lib/processes';

/** The client's end of a connection. */
export interface KernelSocket {
  state: string;
  port: number;
  /** undefined where no process has it. */
  pid: number | undefined;
  /** In TIME_WAIT: what is left of it, to a second; 0 where it has run out and the kernel has yet to see to it. */
  leftS: number;
}

/** As ss writes it (misc/ss.c, print_ms_timer): 1min, 59sec, 9.987ms for nearly ten seconds, 250ms, or nothing. */
function secondsOf(text: string): number {
  const [, minutes = '0', seconds = '0', ms = '0'] =
    /^(?:(\d+)min)?(?:(\d+)(?:sec|\.))?(?:(\d+)ms)?$/.exec(text) ?? [];
  return Number(minutes) * 60 + Number(seconds) + Number(ms) / 1000;
}

/** @param text of ss -HtnoO, with or without -p */
export function parseSs(text: string): KernelSocket[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [, state = '', port] = /^(\S+) +\d+ +\d+ +\S+:(\d+) /.exec(line) ?? [];
      const pid = /pid=(\d+)/.exec(line)?.[1];
      return {
        state,
        port: Number(port),
        pid: pid === undefined ? undefined : Number(pid),
        leftS: secondsOf(/timer:\(timewait,([^,]*),/.exec(line)?.[1] ?? ''),
      };
    });
}

const MOST_MS = 60_000;
/**
 * The kernel walks its table in steps, and beside a socket that goes meanwhile another can be missed. The first is fast,
 * without a look at every descriptor of every process: a port that rests for a second is to be seen before it is over.
 */
const DUMPS = ['-HtnoO', '-HtnpoO', '-HtnpoO', '-HtnpoO'];

/** All sockets that are connected to this port, or have been; what is left of TIME_WAIT is as it was first seen. */
export async function socketsTo(place: Place, pid: number, port: number): Promise<KernelSocket[]> {
  const seen = new Map<string, KernelSocket>();
  for (const flags of DUMPS) {
    const words = ['ss', flags, 'state', 'connected', 'dport', '=', `:${port}`];
    const { stdout } = await runProgram('ss', clientWords(place, pid, words), process.env, MOST_MS);
    for (const socket of parseSs(stdout)) {
      const key = `${socket.state} ${socket.port}`;
      seen.set(key, { ...socket, leftS: seen.get(key)?.leftS ?? socket.leftS });
    }
  }
  return [...seen.values()];
}

export interface ProcessState {
  rss: number;
  fds: number;
}

export function processState(pid: number): ProcessState {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return { rss: Number(kib) * 1024, fds: readdirSync(`/proc/${pid}/fd`).length };
}
