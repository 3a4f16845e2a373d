// SPDX-License-Identifier: Apache-2.0

import type { SteerSetting } from '../config/settings';
import type { AddressTable } from './by-address';
import { forecast, sameTable } from './forecast';
import type { SteeringTable } from './program';

export interface WorkerSeat {
  /** Index of its socket in the group; 0 is the origin's and never a worker's. */
  readonly index: number;
  /** The CPU that its event loop is pinned to; undefined: not pinned. */
  readonly cpu?: number | undefined;
  /** Serves: ready, not dying, its listener open. */
  readonly live: boolean;
}

export interface PolicyInput {
  readonly mode: SteerSetting;
  readonly workers: readonly WorkerSeat[];
  /** Recent connections by the CPU that their packets arrived on (SO_INCOMING_CPU), loopback left out. */
  readonly arrivals: readonly number[];
  readonly previous?: Decision | undefined;
  /** Sockets in the group, the origin's included; a worker with an index beyond is not steered to yet. */
  readonly seats: number;
}

interface Explained {
  /** What is done and why, one line for the log. */
  readonly note: string;
  /** The table differs from the previous one: attach a new program. */
  readonly changed: boolean;
  /** Share of the arrivals by CPU that the table was made for (auto only). */
  readonly shares?: readonly number[] | undefined;
}

export interface TableDecision extends Explained {
  readonly table: SteeringTable;
  /** origin: nobody else lives; even: by chance over the live workers; cpu: by CPU. */
  readonly kind: 'origin' | 'even' | 'cpu';
}

export interface AddressDecision extends Explained {
  readonly table: AddressTable;
  /** A client has the same worker every time. */
  readonly kind: 'address';
}

export type Decision = TableDecision | AddressDecision;

/** Below this number of arrivals `auto` knows nothing ... */
const MIN_SAMPLES = 200;
/** ... and with many workers below this number for each. */
const MIN_SAMPLES_EACH = 16;
/** A worker may get this much above its fair share and still keep all that arrives on its CPU. */
const SLACK = 0.25;
/** Counts scatter: only what lies above the limit by so many standard deviations is above it. */
const SIGMAS = 2;
/** A new table must be fairer than the old one by this much (in fair shares) to take its place ... */
const WORTH_BALANCE = 0.25;
/** ... or serve this much more of all connections where they arrive. */
const WORTH_LOCALITY = 0.05;

interface Live {
  readonly index: number;
  readonly cpu: number | undefined;
}

type TableDraft = Omit<TableDecision, 'changed'>;
type AddressDraft = Omit<AddressDecision, 'changed'>;

/** The workers that can be steered to, by index. Of two on one CPU the first owns it. */
function liveWorkers({ workers, seats }: PolicyInput): Live[] {
  const taken = new Set<number>();
  return workers
    .filter(({ live, index }) => live && index > 0 && index < seats)
    .sort((a, b) => a.index - b.index)
    .map(({ index, cpu }) => {
      const owns = cpu !== undefined && !taken.has(cpu);
      if (owns) taken.add(cpu);
      return { index, cpu: owns ? cpu : undefined };
    });
}

const count = (n: number): string => `${n} worker${n === 1 ? '' : 's'}`;
const percent = (share: number): string => `${Math.round(share * 100)} %`;

function evenly(live: readonly Live[], why: string, shares?: readonly number[]): TableDraft {
  const sockets = live.map(({ index }) => ({ index, weight: 1 }));
  const table = { sockets, own: new Map(), loopbackEven: false };
  return { table, kind: 'even', note: `evenly over ${count(live.length)}: ${why}`, shares };
}

/** Every pinned worker keeps all of its CPU; CPUs without one go evenly to all. */
function allOwn(live: readonly Live[]): TableDraft {
  const own = new Map<number, { index: number; keep: number }>();
  for (const { index, cpu } of live) if (cpu !== undefined) own.set(cpu, { index, keep: 1 });
  const table = { sockets: live.map(({ index }) => ({ index, weight: 1 })), own, loopbackEven: false };
  return { table, kind: 'cpu', note: `by CPU, ${own.size} of ${count(live.length)} on a CPU of their own` };
}

/**
 * The table for these shares of the arrivals.
 *
 * With N live workers the fair share is t = 1/N. A worker whose CPU receives the share a keeps
 *
 *     keep = 1      if a <= t (1 + SLACK)     (counted: n <= m + SIGMAS sqrt(m), m = samples t (1 + SLACK))
 *     keep = t / a  above that
 *
 * What is not kept, and what arrives on CPUs without a live worker, is the pool. The pool's weights are
 * what the workers are short of, max(0, t - a keep): those whose CPU receives nothing live from it.
 * Two queues and eight workers: each of the two keeps a quarter, the others get the rest, all have 1/8.
 * All on one CPU comes out even the same way.
 */
function balanced(live: readonly Live[], shares: readonly number[], samples: number): SteeringTable {
  const fair = 1 / live.length;
  const limit = samples * fair * (1 + SLACK);
  const most = (limit + SIGMAS * Math.sqrt(limit)) / samples;
  const own = new Map<number, { index: number; keep: number }>();
  const sockets = live.map(({ index, cpu }) => {
    const arriving = cpu === undefined ? 0 : (shares[cpu] ?? 0);
    const keep = arriving <= most ? 1 : fair / arriving;
    if (cpu !== undefined) own.set(cpu, { index, keep });
    return { index, weight: Math.max(0, fair - arriving * keep) };
  });
  return { sockets, own, loopbackEven: true };
}

function owners(live: readonly Live[]): Map<number, number> {
  return new Map(live.flatMap(({ index, cpu }) => (cpu === undefined ? [] : [[cpu, index] as const])));
}

/** CPUs that give some of their arrivals away. */
function sharing(table: SteeringTable): number {
  return [...table.own.values()].filter(({ keep }) => keep < 1).length;
}

/** Whether the table has just these workers, on just these CPUs. A table for others is never kept. */
function sameMembers(table: SteeringTable, live: readonly Live[]): boolean {
  const own = owners(live);
  return (
    table.sockets.length === live.length &&
    live.every(({ index }, i) => index === table.sockets[i]?.index) &&
    table.own.size === own.size &&
    [...own].every(([cpu, index]) => table.own.get(cpu)?.index === index)
  );
}

/**
 * Whether `next` is so much better for these arrivals that it is worth a change: clearly fairer,
 * clearly more local, or with CPUs that need no longer give anything away. The last cannot flap: a CPU
 * begins to give away well above the limit (WORTH_BALANCE) and stops at the limit.
 */
function worthIt(
  old: SteeringTable,
  next: SteeringTable,
  live: readonly Live[],
  shares: readonly number[],
  samples: number,
): boolean {
  const before = forecast(old, shares, owners(live));
  const after = forecast(next, shares, owners(live));
  const scatter = SIGMAS * Math.sqrt(live.length / samples);
  if (before.unfairness - after.unfairness > WORTH_BALANCE + scatter) return true;
  const gain = after.local - before.local;
  return gain > WORTH_LOCALITY || (gain > 0 && sharing(next) < sharing(old));
}

function byCpu(live: readonly Live[], shares: readonly number[], samples: number): TableDraft {
  const table = balanced(live, shares, samples);
  const { local } = forecast(table, shares, owners(live));
  const cpus = shares.filter((share) => share > 0).length;
  const note = `by CPU, ${percent(local)} local: ${Math.round(samples)} arrivals on ${cpus} CPUs, ${sharing(table)} of them shared`;
  return { table, kind: 'cpu', note, shares };
}

function automatic({ arrivals, previous }: PolicyInput, live: readonly Live[]): TableDraft {
  const counts = arrivals.map((n) => (Number.isFinite(n) && n > 0 ? n : 0));
  const counted = counts.reduce((sum, n) => sum + n, 0);
  const needed = Math.max(MIN_SAMPLES, MIN_SAMPLES_EACH * live.length);
  const known = counted >= needed;
  // Where too little arrives now the old picture stays, drawn anew if workers have come or gone.
  const shares = known ? counts.map((n) => n / counted) : previous?.shares;
  const samples = known ? counted : needed;
  if (!shares) return evenly(live, `${Math.round(counted)} of ${needed} arrivals seen`);

  const next = byCpu(live, shares, samples);
  if (previous?.kind === 'cpu' && sameMembers(previous.table, live)) {
    const better = known && worthIt(previous.table, next.table, live, shares, samples);
    return better ? next : { ...previous, shares };
  }
  const even = evenly(live, 'by CPU would be no more local', shares);
  return worthIt(even.table, next.table, live, shares, samples) ? next : even;
}

function byAddress(live: readonly Live[], seats: number): AddressDraft {
  const workers = seats - 1;
  const table = { workers, live: live.map(({ index }) => index) };
  return {
    table,
    kind: 'address',
    note: `by the client's address, ${live.length} of ${count(workers)} live`,
  };
}

function draftOf(input: PolicyInput, live: readonly Live[]): TableDraft | AddressDraft {
  if (live.length === 0) {
    const table = { sockets: [{ index: 0, weight: 1 }], own: new Map(), loopbackEven: false };
    // The picture of the arrivals outlives the workers: their successors start from it.
    return {
      table,
      kind: 'origin',
      note: 'all to the origin: no live worker',
      shares: input.previous?.shares,
    };
  }
  if (input.mode === 'ip') return byAddress(live, input.seats);
  if (input.mode === 'hash') return evenly(live, 'FASTSOCKET_STEER=hash');
  if (live.every(({ cpu }) => cpu === undefined)) return evenly(live, 'no worker is pinned');
  if (input.mode === 'cpu') return allOwn(live);
  return automatic(input, live);
}

/** Whether two decisions make the same program. */
function sameProgram(a: TableDraft | AddressDraft, b: TableDraft | AddressDraft): boolean {
  if (a.kind !== 'address' && b.kind !== 'address') return sameTable(a.table, b.table);
  if (a.kind !== 'address' || b.kind !== 'address') return false;
  return a.table.workers === b.table.workers && String(a.table.live) === String(b.table.live);
}

/**
 * Who gets what, from who is alive and where connections arrive. Pure; to be asked whenever a worker
 * comes or goes, and from time to time (100 ms or more) in `auto`.
 *
 * hash: by chance, evenly over the live workers. ip: by the client's address. cpu: a CPU's own worker gets all of it, CPUs
 * without a live one go evenly to all. auto: evenly until MIN_SAMPLES arrivals are known, then by CPU as far as
 * that leaves nobody with more than a fair share and SLACK (formula: `balanced`), loopback evenly. It does
 * not flap: a table is replaced only if the new one would be clearly fairer or more local for the
 * present arrivals, or if workers came or went. Without a live worker: the origin's socket.
 */
export function decide(input: PolicyInput): Decision {
  const draft = draftOf(input, liveWorkers(input));
  const changed = !input.previous || !sameProgram(input.previous, draft);
  return { ...draft, changed };
}
