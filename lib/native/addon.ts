// SPDX-License-Identifier: Apache-2.0
// temporary
import { dirname, join } from 'node:path';
import { existsSync } from 'node:fs';
export interface Addon {
  reusePort(fd: number): number; sibling(fd: number, backlog: number): number; attachProgram(fd: number, p: Uint8Array): number; detachProgram(fd: number): number;
  dropSyn(fd: number): number; keepSyn(fd: number): number; accept(fd: number): number; listen(fd: number, b: number): number; shutdownRead(fd: number): number; close(fd: number): number; dup(fd: number): number; setCloseOnExec(fd: number): number; isCloseOnExec(fd: number): number; incomingCpu(fd: number): number; queueLength(fd: number): number;
  pollAdd(fd: number): number; pollDelete(fd: number): number;
  pair(): [number, number] | number; send(fd: number, text: string, fds: number[]): number; receive(fd: number, ms: number): { text: string; fds: number[] } | number; peerPid(fd: number): number; watch(fd: number, cb: (text: string | null, fds: number[]) => void): number; unwatch(id: number): number;
  getAffinity(tid: number): number[] | number; pinEventLoop(cpu: number): number; restoreThread(): number; sweepThreads(): number; currentCpu(): number; startThreadPool(cb?: () => void): number;
  reportSignals(fd: number, s: number[]): number; die(s: number): number; setParentDeathSignal(s: number): number; guard(s: number[], f: number[], p: number[]): number; shutAll(): number; waitGone(ms: number, p: number[]): number; disposition(s: number): number;
}
export function loadAddon(): { addon?: Addon; reason?: string } {
  let d = __dirname; while (!existsSync(join(d, 'package.json'))) d = dirname(d);
  try { return { addon: require(join(d, 'prebuilds/linux-x64-glibc/fastsocket.node')) as Addon }; } catch (e) { return { reason: (e as Error).message }; }
}
