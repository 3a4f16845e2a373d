// SPDX-License-Identifier: Apache-2.0
// Rounds to figures. Pure.
import { median, type Series } from '../lib/stats';
import type { Figures, LoadName, Measure, ModeName, ModeSummary, Part, ProcessCount, Visit } from './types';
import { LOADS } from './types';

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** @param visits those of one mode, at least one */
export function summarize(mode: ModeName, visits: readonly Visit[]): ModeSummary {
  const byRound: Visit[] = [];
  for (const visit of visits) byRound[visit.round] = visit;
  const rounds = Array.from(byRound);
  const loads = Object.fromEntries(
    LOADS.map((load) => [load, figures(rounds.map((visit) => visit?.loads[load]))]),
  );
  return {
    mode,
    loads: loads as Record<LoadName, Figures>,
    serving: median(visits.map(({ serving }) => serving)) ?? 0,
    rootServes: visits.some(({ rootServes }) => rootServes),
    remarks: [...new Set(visits.flatMap(({ remarks }) => remarks))],
    killed: visits.filter(({ killed }) => killed).length,
  };
}

/** @param rounds a round that was not measured is undefined */
function figures(rounds: readonly (Measure | undefined)[]): Figures {
  const series = (pick: (measure: Measure) => number | undefined): Series =>
    rounds.map((measure) => measure && pick(measure));
  const measures = rounds.filter((measure) => measure !== undefined);
  const counts = measures.map((measure) => measure.counts);
  return {
    perSecond: series((m) => m.perSecond),
    cpuUs: series((m) => m.cpuUs),
    p99Ms: series((m) => m.p99Ms),
    clientBusy: series((m) => m.clientBusy),
    serverBusy: series((m) => m.serverBusy),
    serversBusy: series((m) => m.serversBusy),
    foreign: series((m) => m.foreign),
    failed: sum(measures.map((m) => m.failed)),
    perProcess: perProcess(counts),
    perCore: perCore(counts.flat()),
    local: localShare(counts.flat()),
  };
}

function parts(totals: Iterable<[label: string, connections: number]>): Part[] {
  const all = [...totals];
  const total = sum(all.map(([, connections]) => connections));
  return all.map(([label, connections]) => ({
    label,
    connections: Math.round(connections),
    share: connections / total,
  }));
}

/** The processes are others in each round: the busiest of each are added up, then the second, and so on. */
function perProcess(rounds: readonly ProcessCount[][]): Part[] {
  const ranked = rounds.map((counts) => counts.map(({ accepted }) => accepted).sort((a, b) => b - a));
  const processes = Math.max(0, ...ranked.map((counts) => counts.length));
  return parts(
    Array.from({ length: processes }, (_, rank): [string, number] => [
      `#${rank + 1}`,
      sum(ranked.map((counts) => counts[rank] ?? 0)),
    ]),
  );
}

/** By the CPU on which the accepting process ran. Only a sample was looked at: it stands for what its process accepted. */
function perCore(counts: readonly ProcessCount[]): Part[] {
  const cores = new Map<number, number>();
  for (const { accepted, cpus } of counts) {
    const seen = sum(cpus.map(([, connections]) => connections));
    for (const [cpu, connections] of cpus)
      cores.set(cpu, (cores.get(cpu) ?? 0) + (connections / seen) * accepted);
  }
  const sorted = [...cores].sort(([a], [b]) => a - b);
  return parts(sorted.map(([cpu, connections]) => [`cpu${cpu}`, connections]));
}

function localShare(counts: readonly ProcessCount[]): number | undefined {
  const cpus = counts.flatMap((count) => count.cpus);
  const seen = sum(cpus.map(([, connections]) => connections));
  return seen === 0 ? undefined : sum(cpus.map(([, , local]) => local)) / seen;
}
