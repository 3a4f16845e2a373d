// SPDX-License-Identifier: Apache-2.0

import type { SteerSetting } from '../config/settings';
import { samplesNeeded } from './arrivals';
import type { AddressTable } from './by-address';
import { sameTable } from './forecast';
import type { SteeringTable } from './program';
import {
  allDueTheSame,
  balancedTable,
  chanceTable,
  forecastFor,
  type Live,
  ownTable,
  SIGMAS,
  sameMembers,
  sharing,
} from './tables';

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
  /** So many were looked at for that: fewer than they are, where one stands for several. Default: every one of them. */
  readonly samples?: number | undefined;
  /** Share of the connections by worker index, in fair shares (`balance`); default, and what makes no sense: 1. */
  readonly factors?: readonly number[] | undefined;
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
  /** What each socket of the table is due, in fair shares, in its order (auto only). */
  readonly due?: readonly number[] | undefined;
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

/** A new table must be fairer than the old one by this much (in fair shares) to take its place ... */
const WORTH_BALANCE = 0.25;
/** ... or serve this much more of all connections where they arrive. */
const WORTH_LOCALITY = 0.05;
/** What a worker is due must differ by this much (in fair shares) from what the table was made for to be worth a new one. */
const WORTH_DUE = 0.05;

type TableDraft = Omit<TableDecision, 'changed'>;
type AddressDraft = Omit<AddressDecision, 'changed'>;

const usable = (factor: number | undefined): number =>
  factor !== undefined && factor > 0 && factor < Infinity ? factor : 1;

/** The workers that can be steered to, by index. Of two on one CPU the first owns it. */
function liveWorkers({ mode, workers, seats, factors = [] }: PolicyInput): Live[] {
  const taken = new Set<number>();
  const live = workers
    .filter(({ live, index }) => live && index > 0 && index < seats)
    .sort((a, b) => a.index - b.index)
    .map(({ index, cpu }) => {
      const owns = cpu !== undefined && !taken.has(cpu);
      if (owns) taken.add(cpu);
      return { index, cpu: owns ? cpu : undefined, due: mode === 'auto' ? usable(factors[index]) : 1 };
    });
  const mean = live.reduce((sum, { due }) => sum + due, 0) / live.length;
  // divided only where it must be: all the same is exactly 1
  const same = live.every(({ due }) => due === live[0]?.due);
  return live.map((worker) => ({ ...worker, due: same ? 1 : worker.due / mean }));
}

const count = (n: number): string => `${n} worker${n === 1 ? '' : 's'}`;
const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** Whether what the workers are due now is worth another table. Back to all the same always is. */
function dueHasChanged(previous: TableDecision, live: readonly Live[]): boolean {
  const old = (i: number): number => previous.due?.[i] ?? 1;
  if (allDueTheSame(live)) return live.some((_, i) => old(i) !== 1);
  return live.some(({ due }, i) => Math.abs(due - old(i)) > WORTH_DUE);
}

function dueNote(live: readonly Live[]): string {
  if (allDueTheSame(live)) return '';
  const all = live.map(({ due }) => due);
  return `; shares ${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)} of the fair one`;
}

const dueOf = (live: readonly Live[]): number[] => live.map(({ due }) => due);

function evenly(live: readonly Live[], why: string, shares?: readonly number[]): TableDraft {
  const note = `${allDueTheSame(live) ? 'evenly' : 'by chance'} over ${count(live.length)}: ${why}${dueNote(live)}`;
  return { table: chanceTable(live), kind: 'even', note, shares, due: dueOf(live) };
}

function allOwn(live: readonly Live[]): TableDraft {
  const table = ownTable(live);
  return {
    table,
    kind: 'cpu',
    note: `by CPU, ${table.own.size} of ${count(live.length)} on a CPU of their own`,
  };
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
  const before = forecastFor(old, shares, live);
  const after = forecastFor(next, shares, live);
  const scatter = SIGMAS * Math.sqrt(live.length / samples);
  if (before.unfairness - after.unfairness > WORTH_BALANCE + scatter) return true;
  const gain = after.local - before.local;
  return gain > WORTH_LOCALITY || (gain > 0 && sharing(next) < sharing(old));
}

function byCpu(live: readonly Live[], shares: readonly number[], samples: number): TableDraft {
  const table = balancedTable(live, shares, samples);
  const { local } = forecastFor(table, shares, live);
  const cpus = shares.filter((share) => share > 0).length;
  const seen = `${Math.round(samples)} arrivals on ${cpus} CPUs, ${sharing(table)} of them shared`;
  const note = `by CPU, ${percent(local)} local: ${seen}${dueNote(live)}`;
  return { table, kind: 'cpu', note, shares, due: dueOf(live) };
}

/** `next`, or the previous decision where it was by chance over the same workers and they are due much the same. */
function evenlyUnless(next: TableDraft, previous: Decision | undefined, live: readonly Live[]): TableDraft {
  const kept = previous?.kind === 'even' && sameMembers(previous.table, live, false);
  if (!kept || dueHasChanged(previous, live)) return next;
  return { ...next, table: previous.table, due: previous.due };
}

function automatic(
  { arrivals, samples: looked = Infinity, previous }: PolicyInput,
  live: readonly Live[],
): TableDraft {
  const counts = arrivals.map((n) => (Number.isFinite(n) && n > 0 ? n : 0));
  const counted = counts.reduce((sum, n) => sum + n, 0);
  const needed = samplesNeeded(live.length);
  const seen = Math.min(counted, looked);
  const known = seen >= needed;
  // Where too little arrives now the old picture stays, drawn anew if workers have come or gone.
  const shares = known ? counts.map((n) => n / counted) : previous?.shares;
  const samples = known ? seen : needed;
  if (!shares)
    return evenlyUnless(evenly(live, `${Math.round(seen)} of ${needed} arrivals seen`), previous, live);

  const next = byCpu(live, shares, samples);
  if (previous?.kind === 'cpu' && sameMembers(previous.table, live, true)) {
    if (dueHasChanged(previous, live)) return next;
    const better = known && worthIt(previous.table, next.table, live, shares, samples);
    return better ? next : { ...previous, shares };
  }
  const even = evenly(live, 'by CPU would be no more local', shares);
  if (worthIt(even.table, next.table, live, shares, samples)) return next;
  return evenlyUnless(even, previous, live);
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
  if (live.every(({ cpu }) => cpu === undefined))
    return evenlyUnless(evenly(live, 'no worker is pinned'), input.previous, live);
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
 * hash: by chance, evenly over the live workers. ip: by the client's address. cpu: a CPU's own worker gets all of it, CPUs without a
 * live one go evenly to all. auto: evenly until enough arrivals are known (`samplesNeeded`), then by CPU as far as
 * that leaves nobody with more than a fair share and SLACK (formula: `balancedTable`), loopback
 * evenly. Where `factors` say that workers are due more or less than a fair share, they get that instead. It does
 * not flap: a table is replaced only if the new one would be clearly fairer or more local for the present arrivals, if
 * somebody is due clearly more or less than the table gives, or if workers came or went. Without a live worker: the
 * origin's socket.
 */
export function decide(input: PolicyInput & { readonly mode: Exclude<SteerSetting, 'ip'> }): TableDecision;
export function decide(input: PolicyInput): Decision;
export function decide(input: PolicyInput): Decision {
  const draft = draftOf(input, liveWorkers(input));
  const changed = !input.previous || !sameProgram(input.previous, draft);
  return { ...draft, changed };
}
