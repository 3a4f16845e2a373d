// SPDX-License-Identifier: Apache-2.0
import type { Series } from '../lib/stats';

export const MODES = ['plain', 'cluster', 'fastsocket'] as const;
export type ModeName = (typeof MODES)[number];

export const LOADS = ['short', 'keepAlive', 'undici'] as const;
export type LoadName = (typeof LOADS)[number];

/** Connections that one server process has accepted. */
export interface ProcessCount {
  pid: number;
  accepted: number;
  /** By the CPU the process ran on when it accepted; empty where the addon is not there. `local`: packets arrived there too. */
  cpus: [cpu: number, connections: number, local: number][];
}

/** One load on one server in one round. */
export interface Measure {
  /** Answers per second; of short connections each is a connection. */
  perSecond: number;
  /** CPU time of all server processes together per answer, in microseconds. */
  cpuUs: number;
  p99Ms: number | undefined;
  counts: ProcessCount[];
  /** CPU time of the clients as a share of the cores they could use, one each. */
  clientBusy: number;
  /** CPU time of the busiest server process, in cores. */
  serverBusy: number;
  /** CPU time of the servers together, in cores. */
  serversBusy: number;
  /** What ran beside the demo on this machine, in cores. */
  foreign: number;
  failed: number;
}

/** All loads on one server in one round. */
export interface Visit {
  mode: ModeName;
  round: number;
  loads: Record<LoadName, Measure>;
  /** Processes that served when the measuring began. */
  serving: number;
  /** The process that was started took part in serving. */
  rootServes: boolean;
  /** What fastsocket has written to stderr. */
  remarks: string[];
  /** Processes had to be killed at the end. */
  killed: boolean;
}

/** A line of the table: connections of one core or process over all rounds. */
export interface Part {
  label: string;
  connections: number;
  /** 0 to 1 */
  share: number;
}

/** What is known of one load in one mode after all rounds. */
export interface Figures {
  perSecond: Series;
  cpuUs: Series;
  p99Ms: Series;
  clientBusy: Series;
  serverBusy: Series;
  serversBusy: Series;
  foreign: Series;
  failed: number;
  perProcess: Part[];
  /** Empty where the addon is not there. */
  perCore: Part[];
  /** 0 to 1; undefined where the addon is not there. */
  local: number | undefined;
}

export interface ModeSummary {
  mode: ModeName;
  loads: Record<LoadName, Figures>;
  serving: number;
  rootServes: boolean;
  remarks: string[];
  killed: number;
}

export interface Summary {
  cores: number;
  node: string;
  clients: number;
  /** Connections that the clients hold open or make at a time. */
  connections: number;
  rounds: number;
  /** In the order of MODES; one that could not be measured is missing. */
  modes: ModeSummary[];
  /** Why a mode is missing. */
  missing: { mode: ModeName; why: string }[];
}
