// SPDX-License-Identifier: Apache-2.0
// Who holds how many ports, so that nobody runs out of descriptors. Pure.

/** Both ends belong to it. */
export interface PortRange {
  low: number;
  high: number;
}

/** Connections of the measured process, of other processes, or closed ones. */
export const HOLDERS = ['own', 'strangers', 'time-wait'] as const;
export type Holder = (typeof HOLDERS)[number];

export interface Plan {
  held: number;
  /** By the measured process. */
  own: number;
  /** By each of other processes. */
  strangers: number[];
  timeWait: number;
  /** Processes that accept. */
  servers: number;
}

/** What a process has open beside the connections that it holds, with much to spare. */
const OTHER_FDS = 500;
/** Connections spread over the servers by chance. */
const SERVER_SHARE = 0.75;

export const sizeOf = ({ low, high }: PortRange): number => high - low + 1;

/** @param share in percent */
export function heldOf(range: PortRange, share: number): number {
  return Math.round((sizeOf(range) * share) / 100);
}

/** `count` in as few parts of at most `most` as will do. */
function parts(count: number, most: number): number[] {
  const list: number[] = [];
  for (let left = count; left > 0; left -= most) list.push(Math.min(left, most));
  return list;
}

/** @param mostFds that a process may have open */
export function planOf(range: PortRange, holder: Holder, share: number, mostFds: number): Plan {
  const held = heldOf(range, share);
  const most = mostFds - OTHER_FDS;
  if (most <= 0) throw new Error(`${mostFds} descriptors for a process are too few`);
  if (holder === 'time-wait') return { held, own: 0, strangers: [], timeWait: held, servers: 1 };
  const own = holder === 'own' ? Math.min(held, most) : 0;
  const servers = Math.max(1, Math.ceil(held / (most * SERVER_SHARE)));
  return { held, own, strangers: parts(held - own, most), timeWait: 0, servers };
}

export const TITLES: Readonly<Record<Holder, string>> = {
  own: 'by connections of its own',
  strangers: 'by connections of other processes',
  'time-wait': 'in TIME_WAIT',
};

/** What is not as the holder's title says. */
export function remainderOf(plan: Plan): string {
  const strangers = plan.strangers.reduce((sum, count) => sum + count, 0);
  if (plan.own === 0 || strangers === 0) return '';
  return `, ${strangers.toLocaleString('en-US')} of them by other processes for want of descriptors`;
}
