// SPDX-License-Identifier: Apache-2.0
import type { Figures, ModeName, ModeSummary, Summary } from '../bench/demo/types';

/** Figures of three equal rounds. */
export function figures(changes: Partial<Figures> = {}): Figures {
  return {
    perSecond: [5_000, 5_000, 5_000],
    cpuUs: [100, 100, 100],
    p99Ms: [20, 20, 20],
    clientBusy: [0.5, 0.5, 0.5],
    serverBusy: [0.4, 0.4, 0.4],
    serversBusy: [0.5, 0.5, 0.5],
    foreign: [0, 0, 0],
    failed: 0,
    perProcess: [
      { label: '#1', connections: 5_200, share: 0.52 },
      { label: '#2', connections: 4_800, share: 0.48 },
    ],
    perCore: [
      { label: 'cpu0', connections: 5_500, share: 0.55 },
      { label: 'cpu1', connections: 4_500, share: 0.45 },
    ],
    local: 0.5,
    ...changes,
  };
}

export function modeSummary(
  mode: ModeName,
  short: Partial<Figures> = {},
  changes: Partial<ModeSummary> = {},
): ModeSummary {
  const loads = { short: figures(short), keepAlive: figures(), undici: figures() };
  return {
    mode,
    loads,
    serving: mode === 'plain' ? 1 : 2,
    rootServes: mode === 'plain',
    remarks: [],
    killed: 0,
    ...changes,
  };
}

export function summary(changes: Partial<Summary> = {}): Summary {
  return {
    cores: 2,
    node: 'v0.0.0',
    clients: 1,
    connections: 128,
    rounds: 3,
    modes: [modeSummary('plain'), modeSummary('cluster'), modeSummary('fastsocket')],
    missing: [],
    ...changes,
  };
}
