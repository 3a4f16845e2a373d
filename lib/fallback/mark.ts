// SPDX-License-Identifier: Apache-2.0
import type { EarlyConnect } from '../origin/early-connects';

/** What an app had asked about its own ports in the origin, and the addresses that the origin listens on. */
export interface Asked {
  early: readonly EarlyConnect[];
  /** See groupKey(). */
  keys: readonly string[];
}

export interface Mark {
  core: number | undefined;
  index: number;
  workers: number;
  /** Of the origin. */
  pid: number;
  asked: Asked | undefined;
}

const MARK = /^(\d+|none)\/\d+\/(\d+)\/\d+\/ipc(?:\/([\w-]+))?$/;

/**
 * How the origin marks a worker that has no control socket: core/index/workers/pid/ipc. What it must know before its first
 * line runs comes with that, since the channel is read later.
 */
export function writeMark({ core, index, workers, pid, asked }: Mark): string {
  const more = asked ? `/${Buffer.from(JSON.stringify(asked)).toString('base64url')}` : '';
  return `${core ?? 'none'}/${index}/${workers}/${pid}/ipc${more}`;
}

/** What a worker reads there. */
export interface Marked extends Pick<Mark, 'workers' | 'asked'> {
  /** A CPU, or `none`. */
  core: string;
}

/** Undefined for what is no such mark. */
export function readMark(mark: string): Marked | undefined {
  const [, core, workers, more] = MARK.exec(mark) ?? [];
  if (core === undefined) return undefined;
  return { core, workers: Number(workers), asked: more === undefined ? undefined : parse(more) };
}

function parse(text: string): Asked | undefined {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) as Asked;
  } catch {
    return undefined;
  }
}
