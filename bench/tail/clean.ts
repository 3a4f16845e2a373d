// SPDX-License-Identifier: Apache-2.0
// Which measures count. The rule is fixed before the first one, and does not look at what has been measured.
import { setTimeout as sleep } from 'node:timers/promises';
import { fixed } from '../lib/columns';
import type { Taken } from '../lib/compare';
import { busySince } from '../lib/proc';

export interface Limits {
  /** CPU used by others, in cores. */
  foreign: number;
  /** By how much the load came late, 99.9 of 100 times at most, in milliseconds; undefined: it has no times. */
  lateMs?: number;
}

export interface Disturbance {
  foreign: number;
  lateMs?: number | undefined;
}

export function rule({ foreign, lateMs }: Limits): string {
  const used = `more than ${fixed(foreign * 100, 0)} % of a core used by others`;
  return lateMs === undefined ? used : `${used}, or load more than ${lateMs} ms late at p99.9`;
}

/** Why a measure does not count; undefined where it does. */
export function whyDiscarded({ foreign, lateMs }: Disturbance, limits: Limits): string | undefined {
  const reasons = [
    foreign > limits.foreign ? `others used ${fixed(foreign * 100, 0)} % of a core` : undefined,
    lateMs !== undefined && lateMs > (limits.lateMs ?? Number.POSITIVE_INFINITY)
      ? `the load was ${fixed(lateMs, 1)} ms late`
      : undefined,
  ].filter((reason) => reason !== undefined);
  return reasons.length > 0 ? reasons.join(', ') : undefined;
}

export interface Tries<M> {
  /** The first that counts; undefined where none did. */
  kept?: M;
  discarded: { why: string; measure: M }[];
}

const LOOK_MS = 500;

/** Waits, but not for ever, until others use as little as they may: what would be discarded need not be measured. */
async function quiet({ foreign }: Limits, mostS: number): Promise<void> {
  for (const end = performance.now() + mostS * 1_000; performance.now() < end; ) {
    const [began, busyMs] = [performance.now(), busySince()];
    await sleep(LOOK_MS);
    if (busyMs() / (performance.now() - began) <= foreign) return;
  }
}

/** Takes one that counts, with so many tries at most. */
export async function untilClean<M extends Disturbance>(
  { tries, waitS, limits }: { tries: number; waitS: number; limits: Limits },
  take: () => Promise<Taken<M>>,
): Promise<Taken<Tries<M>>> {
  const discarded: Tries<M>['discarded'] = [];
  let remark: string | undefined;
  while (discarded.length < tries) {
    await quiet(limits, waitS);
    const taken = await take();
    remark = taken.remark ?? remark;
    const why = whyDiscarded(taken.measure, limits);
    if (why === undefined) return { measure: { kept: taken.measure, discarded }, remark };
    discarded.push({ why, measure: taken.measure });
  }
  return { measure: { discarded }, remark };
}
